//! The lines of events of the guard, and of namespaces that existed before observation began.

use std::time::{Duration, UNIX_EPOCH};

use pfnwatch_common::record::{Attempt, Decision, Judgement, Unjudged};
use zerocopy::IntoBytes as _;

use crate::analysis::event_assessment::judge;
use crate::analysis::event_assessment::tests::host;
use crate::analysis::prediction_check::PredictionTracker;
use crate::export::line;
use crate::guard::info_block_cache::InfoBlockCache;
use crate::model::device::{DeviceKind, MemmapPlace};
use crate::model::event::{
    Actor, Body, DeviceAppeared, DeviceChanged, DeviceDisappeared, DeviceId, DeviceUse, Event, ExemptionChange,
    ExemptionUsed, GuardState, GuardTransfer, MemmapNotReturned, MemoryLeftOnline, ModeChanged, NamespaceId,
    PolicyLoaded, PolicyRefused, Time,
};
use crate::model::memmap_return::MemmapEvidence;
use crate::model::policy::Mode;
use crate::model::thresholds::Thresholds;
use crate::scan::existing::existing_namespace;
use crate::scan::existing::tests::scanned;
use crate::testing::events::{context, creation, decode, denial};

fn text(body: Body) -> String {
    let event = Event::at(Time(UNIX_EPOCH), body);
    line::of(&event).strip_prefix("1970-01-01T00:00:00Z ").expect("a time").to_owned()
}

/// The lines of these records, tracked as the agent tracks them, without their times.
fn lines(records: &[&[u8]], exempted: Option<&ExemptionUsed>) -> Vec<String> {
    let (mut kept, mut aftermath) = (InfoBlockCache::default(), PredictionTracker::default());
    aftermath.attached(true, Duration::ZERO);
    let line = |record: &&[u8]| {
        let mut event = decode(record, &context()).expect("an event");
        kept.follow(&mut event);
        judge(&mut event, &host(), &Thresholds::default());
        aftermath.follow(&mut event, context().booted);
        if let Some(judged) = event.guard_decision_mut() {
            judged.exemption = exempted.cloned();
        }
        line::of(&event).split_once(' ').expect("a time").1.to_owned()
    };
    records.iter().map(line).collect()
}

fn admin() -> Option<Actor> {
    Some(Actor { pid: 7, uid: 0, comm: "pfnwatch".to_owned(), cgroup_id: 1, cgroup: None })
}

#[test]
fn a_denial_explains_itself() {
    let [line] = &lines(&[denial().as_bytes()], None)[..] else { panic!("one line") };
    assert_eq!(
        line,
        r#"DENIED   namespace0.0 (1 GiB, fsdax, map=dev): reservation 34 MiB, ideal 18 MiB, excess 16 MiB; by ndctl (pid 42, uid 0)
    pfn0.1, align 2 MiB; refused before anything was written: this kernel reserves 128 bytes for each page instead of 64 (the regression of Linux 6.1 to 6.1.11)
    the caller got another error: bind answers "Cannot allocate memory" (ENOMEM), ndctl prints "No such device or address", dmesg "driver_sysfs_add(…) failed"
    instead: --map=mem: 2 MiB reserved, and 16 MiB of DRAM for the memmap
    instead: a kernel without the regression (Linux 6.1.12 or later, 6.2 or later; `pfnwatch kernel FILE` checks a package): 18 MiB reserved
    instead: under this kernel, with an info block that ndctl writes (18 MiB reserved; a debug facility of ndctl): make it with --mode=raw, then `ndctl disable-namespace NAME`, `ndctl write-infoblock --mode=fsdax --map=dev --align=2097152 NAME`, `ndctl enable-namespace NAME`
    instead: an exemption for one creation: `pfnwatch allow --region region0 --once --for 10m --reason TEXT`, then try again"#
    );
}

#[test]
fn what_is_let_pass_says_so() {
    let of = |decision: Decision| Judgement { decision: decision as u32, ..denial() };
    let used = ExemptionUsed { id: 4, subject: Some("region0".to_owned()), reason: Some("a rebuild".to_owned()) };
    let [audit] = &lines(&[of(Decision::WouldDeny).as_bytes()], None)[..] else { panic!("one line") };
    assert!(audit.starts_with("WOULD DENY namespace0.0 (1 GiB, "), "{audit}");
    assert!(audit.contains("enforce would have refused it") && !audit.contains("the caller got"), "{audit}");
    let [exempt] = &lines(&[of(Decision::Exempt).as_bytes()], Some(&used))[..] else { panic!("one line") };
    assert!(exempt.ends_with("\n    by exemption 4 for region0: a rebuild"), "{exempt}");
    let unjudged =
        Judgement { unjudged: Unjudged::ModuleChanged as u32, dataoff: 0, ideal_dataoff: 0, ..of(Decision::Unjudged) };
    let [unjudged] = &lines(&[unjudged.as_bytes()], None)[..] else { panic!("one line") };
    assert_eq!(
        unjudged,
        "UNJUDGED namespace0.0 (1 GiB, fsdax, map=dev); by ndctl (pid 42, uid 0)\n    pfn0.1, align 2 MiB; allowed \
         without a judgement: libnvdimm was reloaded after pfnwatch's first scan; its set-up event will have the verdict\
         \n    instead: `pfnwatch status` shows when the guard judges again"
    );
}

#[test]
fn a_reconfigure_shows_the_way_back() {
    let raw = Attempt {
        personality: 4,
        seen: pfnwatch_common::record::CaptureFlags::NAMESPACE.with(pfnwatch_common::record::CaptureFlags::BOUND),
        device: crate::testing::events::name("namespace0.0"),
        ..creation()
    };
    let again = Judgement { device_uuid: [6; 16], ..denial() };
    let lines = lines(&[creation().as_bytes(), raw.as_bytes(), again.as_bytes()], None);
    let below: Vec<_> = lines[2].lines().skip_while(|line| !line.contains("its info block")).collect();
    assert_eq!(
        below[0],
        "    its info block (fsdax, map=dev, align 2 MiB, 18 MiB reserved, block uuid \
         07070707-0707-0707-0707-070707070707, seen being made, last at 1970-01-01T00:16:40Z) is gone, the data behind it is unchanged: restore it with"
    );
    assert_eq!(below[1], "        pfnwatch events restore-block namespace0.0 -o namespace0.0.infoblock &&");
    assert_eq!((below.len(), below[2], below.last()), (15, "        ( set -eu", Some(&"        )")));
}

#[test]
fn a_mismatch_is_on_the_line_of_the_set_up() {
    let block = pfnwatch_common::InfoBlock::sample(34 << 20, 128);
    let mut oversize = creation();
    let head = oversize.block.len();
    oversize.block.copy_from_slice(&block.encode()[..head]);
    let foretold = Judgement { decision: Decision::WouldDeny as u32, ..denial() };
    let all = [oversize.as_bytes(), foretold.as_bytes(), oversize.as_bytes(), foretold.as_bytes()];
    let lines = lines(&[&all[..], &[creation().as_bytes(), creation().as_bytes()]].concat(), None);
    let said = |line: &str, what: &str| assert!(line.contains(what), "{line}");
    said(&lines[0], "; OVERSIZE; by ndctl");
    said(&lines[0], "16 MiB too much\n    MISMATCH: the guard found it not oversize");
    said(&lines[2], "\n    enforce would have refused it");
    assert!(!lines[2].contains("MISMATCH"), "{}", lines[2]);
    said(&lines[4], "MISMATCH: enforce would have refused it, and predicted a reservation of 34 MiB");
    assert_eq!(
        lines[5],
        "create   namespace0.0 (1 GiB, fsdax, map=dev): reservation 18 MiB, usable 1006 MiB; by ndctl (pid 42, uid 0)\
         \n    pfn0.1, align 2 MiB; info block made, namespace enabled"
    );
}

#[test]
fn the_guards_own_events() {
    let until = Some(Time(UNIX_EPOCH + Duration::from_secs(600)));
    let exemption = |once, until, by| ExemptionChange {
        id: 3,
        subject: "region0".to_owned(),
        reason: "a rebuild".to_owned(),
        once,
        by,
        until,
    };
    let state = |attached, armed, judges, reason: Option<&str>, pins: &[&str]| GuardState {
        mode: Mode::Enforce,
        configured_mode: Mode::Enforce,
        attached,
        pinned: !pins.is_empty(),
        armed,
        judges,
        enforcement_effective: judges,
        reason: reason.map(str::to_owned),
        pins: pins.iter().map(|pin| (*pin).to_owned()).collect(),
    };
    let handover = GuardTransfer {
        mode: Mode::Enforce,
        pins: vec!["/p".to_owned()],
        by: admin(),
        detail: "no guard is left".to_owned(),
    };
    let mode = ModeChanged { from: Mode::Audit, to: Mode::Enforce, by: admin(), reason: Some("roll-out".to_owned()) };
    let loaded = PolicyLoaded {
        file: Some("/etc/p.toml".to_owned()),
        number: 2,
        explanation: vec!["One.".to_owned(), "Two.".to_owned()],
    };
    let error = "line 2, column 1\n  |\n2 | x = 1\n\nunknown key".to_owned();
    for (body, expected) in [
        (Body::ModeChanged(mode), "mode     audit -> enforce (reason: roll-out); by pfnwatch (pid 7, uid 0)"),
        (Body::PolicyLoaded(loaded), "policy   number 2 is in force, from /etc/p.toml\n    One.\n    Two."),
        (
            Body::PolicyRefused(PolicyRefused { file: "/etc/p.toml".to_owned(), error }),
            "POLICY   /etc/p.toml is rejected, the earlier policy stays in force\n    line 2, column 1\n      |\n    2 | x = \
             1\n    unknown key",
        ),
        (
            Body::ExemptionGranted(exemption(true, until, admin())),
            "exempt   exemption 3 for region0 granted, for one creation, until 1970-01-01T00:10:00Z: a rebuild; by pfnwatch \
             (pid 7, uid 0)",
        ),
        (Body::ExemptionEnded(exemption(false, None, None)), "exempt   exemption 3 for region0 ended: a rebuild"),
        (Body::GuardState(state(true, true, true, None, &[])), "guard    judges creations (enforce)"),
        (
            Body::GuardState(state(false, false, false, Some("no `bpf` in lsm="), &[])),
            "guard    is NOT attached: every creation is allowed (enforce): no `bpf` in lsm=",
        ),
        (
            Body::GuardState(state(true, true, false, None, &["/p/a", "/p/b"])),
            "guard    is attached, but was NOT seen to run: nothing shows that a creation would be refused (enforce)\
             \n    pinned, so that it stays without the agent: /p/a, /p/b",
        ),
        (
            Body::GuardReleased(handover),
            "guard    released (enforce): /p; no guard is left; by pfnwatch (pid 7, uid 0)",
        ),
    ] {
        assert_eq!(text(body), expected);
    }
}

#[test]
fn a_process_cannot_forge_a_line() {
    let by = Actor { comm: "x\n1970 DENIED".to_owned(), ..admin().expect("somebody") };
    let mode = ModeChanged { from: Mode::Enforce, to: Mode::Audit, by: Some(by), reason: None };
    assert_eq!(text(Body::ModeChanged(mode)), "mode     enforce -> audit; by x?1970 DENIED (pid 7, uid 0)");
}

#[test]
fn the_line_says_what_it_costs() {
    let existing = existing_namespace(&scanned()[0]).expect("map=dev");
    let event = Event::at(Time(UNIX_EPOCH), Body::ExistingNamespace(Box::new(existing)));
    assert_eq!(
        line::of(&event),
        "1970-01-01T00:00:00Z existing namespace0.0 (16 GiB, fsdax, map=dev): reservation 514 MiB; OVERSIZE\
         \n    align 2 MiB; made by a kernel that reserves 128 bytes for each page: 256 MiB too much"
    );
}

#[test]
fn a_memmap_that_is_not_returned() {
    let namespace = NamespaceId {
        namespace: "namespace0.0".to_owned(),
        namespace_uuid: None,
        start_address: 4 << 30,
        size_bytes: 1 << 30,
    };
    let lost = MemmapNotReturned {
        namespace: Some(namespace),
        device: None,
        range_start_address: 4 << 30,
        range_size_bytes: 1 << 30,
        removed_bytes: 16 << 20,
        returned_bytes: 32 << 10,
        lost_bytes: (16 << 20) - (32 << 10),
        at_most: false,
        evidence: MemmapEvidence::Code,
        kernel: "6.18.15".to_owned(),
        by: admin(),
    };
    let said = |lost: &MemmapNotReturned| text(Body::MemmapNotReturned(Box::new(lost.clone())));
    assert_eq!(
        said(&lost),
        "NOT RETURNED 15.9 MiB of DRAM, memmap of namespace0.0 (1 GiB); Linux 6.18.15 (code); by pfnwatch (pid 7, uid 0)\
         \n    16744448 of 16777216 bytes; a reboot returns them"
    );
    let lost =
        MemmapNotReturned { namespace: None, at_most: true, evidence: MemmapEvidence::Release, by: None, ..lost };
    let suspected = said(&lost);
    assert!(
        suspected.starts_with("SUSPECTED LOSS at most 15.9 MiB of DRAM, ") && suspected.contains("16744448"),
        "{suspected}"
    );
    assert!(suspected.contains("memmap of 0x100000000 (1 GiB)"), "{suspected}");
    let of_device = said(&MemmapNotReturned { device: Some("dax0.0".to_owned()), ..lost });
    assert!(of_device.contains("memmap of dax0.0 (1 GiB)"), "{of_device}");
}

#[test]
fn the_life_of_a_device_is_one_short_line_each() {
    let id = DeviceId {
        device: "dax0.0".to_owned(),
        kind: DeviceKind::Cxl,
        parent: Some("region0".to_owned()),
        start_address: Some(46848 << 20),
    };
    let none = DeviceUse {
        size_bytes: Some(1 << 30),
        driver: None,
        mode: "disabled",
        online_bytes: None,
        offline_bytes: None,
        memmap_place: Some(MemmapPlace::None),
        memmap_dram_bytes: Some(0),
    };
    let kmem = DeviceUse {
        driver: Some("kmem".to_owned()),
        mode: "system-ram",
        online_bytes: Some(896 << 20),
        offline_bytes: Some(128 << 20),
        memmap_place: Some(MemmapPlace::Dram),
        memmap_dram_bytes: Some(16 << 20),
        ..none.clone()
    };
    let all_online = DeviceUse { online_bytes: Some(1 << 30), offline_bytes: Some(0), ..kmem.clone() };
    let changed = |before: &DeviceUse, after: &DeviceUse| {
        let change = DeviceChanged { id: id.clone(), before: before.clone(), after: after.clone() };
        Body::DeviceChanged(Box::new(change))
    };
    let gone = |left_online_bytes| {
        let gone = DeviceDisappeared { id: id.clone(), before: all_online.clone(), left_online_bytes };
        Body::DeviceDisappeared(Box::new(gone))
    };
    let destroyed = MemoryLeftOnline {
        namespace: NamespaceId {
            namespace: "namespace0.0".to_owned(),
            namespace_uuid: None,
            start_address: 4 << 30,
            size_bytes: 1 << 30,
        },
        left_online_bytes: 896 << 20,
        by: admin(),
    };
    for (body, expected) in [
        (
            Body::DeviceAppeared(DeviceAppeared { id: id.clone(), used: none.clone() }),
            "device   dax0.0 (cxl of region0, 1 GiB) appeared: no driver, no memmap",
        ),
        (
            changed(&none, &kmem),
            "device   dax0.0 (cxl of region0, 1 GiB): no driver, no memmap -> kmem, 896 MiB online, 128 MiB offline, memmap 16 MiB of \
             DRAM",
        ),
        (
            changed(&kmem, &all_online),
            "device   dax0.0 (cxl of region0, 1 GiB): 896 MiB online, 128 MiB offline -> 1 GiB online",
        ),
        (
            changed(&DeviceUse { size_bytes: Some(512 << 20), ..none.clone() }, &none),
            "device   dax0.0 (cxl of region0, 1 GiB): 512 MiB -> 1 GiB",
        ),
        (
            gone(Some(0)),
            "device   dax0.0 (cxl of region0, 1 GiB) disappeared, was kmem, 1 GiB online, memmap 16 MiB of DRAM",
        ),
        (
            gone(Some(1 << 30)),
            "device   dax0.0 (cxl of region0, 1 GiB) disappeared, was kmem, 1 GiB online, memmap 16 MiB of DRAM; 1 GiB STAY ONLINE until \
             the next boot",
        ),
        (
            Body::MemoryLeftOnline(Box::new(destroyed)),
            "device   namespace0.0 (1 GiB) was destroyed, 896 MiB STAY ONLINE as system RAM until the next boot; by pfnwatch (pid 7, \
             uid 0)",
        ),
    ] {
        let line = text(body);
        assert_eq!(line, expected);
        assert!(line.len() <= 160, "{}", line.len());
    }
}
