//! No event's line is longer than 160 characters, whatever the lengths of its parts.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use pfnwatch_common::record::{Attempt, Decision, Judgement};
use zerocopy::IntoBytes as _;

use crate::analysis::event_assessment::judge;
use crate::analysis::event_assessment::tests::host;
use crate::export::line;
use crate::model::capacity::{Cost, NamespaceKey, Regression, RegressionSubject};
use crate::model::device::{DeviceKind, MemmapPlace};
use crate::model::event::{
    Actor, BaselineAccepted, Blind, Body, CapacityRegression, DecodeFailure, DeviceAppeared, DeviceChanged,
    DeviceDisappeared, DeviceId, DeviceUse, Event, ExemptionChange, GuardState, GuardTransfer, LostRecords,
    MaxStructPageReport, MaxStructPageStatus, MemmapNotReturned, MemoryLeftOnline, ModeChanged, NamespaceChange,
    NamespaceId, ObservationState, PolicyLoaded, PolicyRefused, ProgramState, Ready, RecordTotals, Time,
};
use crate::model::memmap_return::MemmapEvidence;
use crate::model::policy::Mode;
use crate::model::thresholds::Thresholds;
use crate::scan::existing::existing_namespace;
use crate::scan::existing::tests::scanned;
use crate::testing::events::{context, creation, decode, denial, name};

const RAW: u32 = 4;
const GIB: u64 = 1 << 30;

fn by() -> Actor {
    Actor { pid: 4_194_303, uid: 4_294_967_294, comm: "automation-agent".to_owned(), cgroup_id: 1, cgroup: None }
}

/// Words of the given length in characters, without a mark between them.
fn words(length: usize) -> String {
    "restoring db3 ".chars().cycle().take(length).collect()
}

fn recorded(record: &[u8]) -> Body {
    let mut event = decode(record, &context()).expect("an event");
    if let Some(actor) = event.actor_mut() {
        *actor = by();
    }
    judge(&mut event, &host(), &Thresholds::default());
    event.body
}

fn attempt() -> Attempt {
    let block = pfnwatch_common::InfoBlock::sample((34 << 20) + 4096, 128);
    let mut attempt = Attempt { namespace: name("namespace127.1023"), device: name("pfn127.1023"), ..creation() };
    let head = attempt.block.len();
    attempt.block.copy_from_slice(&block.encode()[..head]);
    attempt
}

fn change() -> NamespaceChange {
    NamespaceChange {
        device: "namespace127.1023".to_owned(),
        region: Some("region127".to_owned()),
        namespace: Some("namespace127.1023".to_owned()),
        namespace_uuid: None,
        size_bytes: Some((1 << 40) - 1),
        label_name: Some("x".repeat(63)),
        incomplete: false,
        by: Some(by()),
    }
}

fn regression() -> Regression {
    let cost = |kernel: &str, reservation_bytes| Cost {
        kernel: kernel.to_owned(),
        seen: Time(UNIX_EPOCH).to_string(),
        reservation_bytes,
        excess_bytes: reservation_bytes - (18 << 20),
        max_struct_page_size_bytes: Some(128),
    };
    let namespace = "namespace127.1023".to_owned();
    let key = NamespaceKey { namespace, namespace_uuid: None, start_address: 0, size_bytes: (1 << 40) - 4096 };
    Regression {
        subject: RegressionSubject::Namespace(key),
        before: cost("5.14.0-503.40.1.el9_5.x86_64", (18 << 20) + 4096),
        after: cost("6.1.0-50-cloud-amd64-unsigned", (34 << 20) + 4096),
    }
}

fn device() -> DeviceId {
    DeviceId {
        device: "dax127.1023".to_owned(),
        kind: DeviceKind::Cxl,
        parent: Some("region127".to_owned()),
        start_address: Some(0),
    }
}

fn device_use() -> DeviceUse {
    DeviceUse {
        size_bytes: Some((1 << 40) - 4096),
        driver: Some("device_dax".to_owned()),
        mode: "system-ram",
        online_bytes: Some((1 << 40) - (128 << 20)),
        offline_bytes: Some(128 << 20),
        memmap_place: Some(MemmapPlace::Dram),
        memmap_dram_bytes: Some((16 << 30) + 4096),
    }
}

/// An event of each kind, with texts of this length where their length is not limited.
fn bodies(length: usize) -> Vec<Body> {
    let judged = |decision: Decision| {
        let names = (name("namespace127.1023"), name("pfn127.1023"));
        let record = Judgement { decision: decision as u32, namespace: names.0, device: names.1, ..denial() };
        recorded(record.as_bytes())
    };
    let exemption = || ExemptionChange {
        id: u64::MAX >> 11,
        subject: "the region that starts at 0x100000000".to_owned(),
        reason: words(length),
        once: true,
        by: Some(by()),
        until: Some(Time(UNIX_EPOCH)),
    };
    let pins = vec!["/sys/fs/bpf/pfnwatch/guard".to_owned(), "/sys/fs/bpf/pfnwatch/policy".to_owned()];
    let transfer = || GuardTransfer { mode: Mode::Enforce, pins: pins.clone(), by: Some(by()), detail: words(length) };
    let lost = LostRecords {
        lost: u64::MAX,
        read_faults: u64::MAX,
        table_full: u64::MAX,
        unpaired: u64::MAX,
        guard_faults: u64::MAX,
        blocks_missed: u64::MAX,
        returns_missed: u64::MAX,
        swept: u64::MAX,
    };
    let evidence = MaxStructPageStatus {
        max_struct_page_size_bytes: None,
        evidence: vec![words(length)],
        conflicting_evidence: vec![words(length)],
        problems: Vec::new(),
    };
    let program = ProgramState { program: "label_update".to_owned(), attached: false, reason: Some(words(length)) };
    let path = format!("/etc/{}.toml", "long/".repeat(length / 5));
    vec![
        recorded(attempt().as_bytes()),
        recorded(Attempt { personality: RAW, ..attempt() }.as_bytes()),
        Body::Claim(change()),
        Body::Unbind(change()),
        Body::Label(change()),
        Body::Destroy(change()),
        judged(Decision::Denied),
        judged(Decision::WouldDeny),
        judged(Decision::Exempt),
        judged(Decision::Unjudged),
        Body::ExistingNamespace(Box::new(existing_namespace(&scanned()[0]).expect("map=dev"))),
        Body::CapacityRegression(Box::new(CapacityRegression::begins(regression()))),
        Body::CapacityRegressionEnded(Box::new(CapacityRegression::ends(regression()))),
        Body::DeviceAppeared(DeviceAppeared { id: device(), used: device_use() }),
        Body::DeviceChanged(Box::new(DeviceChanged {
            id: device(),
            before: DeviceUse { driver: None, mode: "disabled", ..device_use() },
            after: DeviceUse { size_bytes: Some(GIB), online_bytes: Some(GIB - 4096), ..device_use() },
        })),
        Body::DeviceDisappeared(Box::new(DeviceDisappeared {
            id: device(),
            before: device_use(),
            left_online_bytes: None,
        })),
        Body::MemoryLeftOnline(Box::new(MemoryLeftOnline {
            namespace: NamespaceId {
                namespace: "namespace127.1023".to_owned(),
                namespace_uuid: None,
                start_address: 0,
                size_bytes: (1 << 40) - 4096,
            },
            left_online_bytes: (1 << 40) - 4096,
            by: Some(by()),
        })),
        Body::MemmapNotReturned(Box::new(MemmapNotReturned {
            namespace: None,
            device: None,
            range_start_address: u64::MAX,
            range_size_bytes: 1 << 40,
            removed_bytes: (16 << 30) + 4096,
            returned_bytes: 0,
            lost_bytes: (16 << 30) + 4096,
            at_most: true,
            evidence: MemmapEvidence::Release,
            kernel: "6.18.15-200.fc43.x86_64+debug".to_owned(),
            by: Some(by()),
        })),
        Body::BaselineAccepted(Box::new(BaselineAccepted::new(regression(), words(length), by()))),
        Body::ModeChanged(ModeChanged {
            from: Mode::Audit,
            to: Mode::Enforce,
            by: Some(by()),
            reason: Some(words(length)),
        }),
        Body::PolicyLoaded(PolicyLoaded {
            file: Some(path.clone()),
            number: u64::MAX,
            explanation: vec![words(length)],
        }),
        Body::PolicyRefused(PolicyRefused { file: path, error: words(length) }),
        Body::ExemptionGranted(exemption()),
        Body::ExemptionSpent(exemption()),
        Body::ExemptionEnded(exemption()),
        Body::GuardState(GuardState {
            mode: Mode::Enforce,
            configured_mode: Mode::Audit,
            attached: true,
            pinned: true,
            armed: true,
            judges: false,
            enforcement_effective: false,
            reason: Some(words(length)),
            pins: pins.clone(),
        }),
        Body::GuardTakenOver(transfer()),
        Body::GuardReleased(transfer()),
        Body::Ready(Ready {
            state: ObservationState::Observing,
            reason: Some(words(length)),
            kernel: "6.1.0-50-cloud-amd64-unsigned".to_owned(),
            struct_page_size_bytes: Some(64),
            page_size_bytes: 4096,
            programs: vec![program; 5],
        }),
        Body::MaxStructPage(MaxStructPageReport { status: evidence, page_struct_override: None }),
        Body::Blind(Blind { reason: words(length) }),
        Body::Lost(lost),
        Body::DecodeError(DecodeFailure { length_bytes: 4096, reason: words(length) }),
        Body::Stopped(RecordTotals { received: u64::MAX, decode_errors: u64::MAX, missed: lost }),
    ]
}

#[test]
fn a_line_of_each_kind_has_at_most_160_characters() {
    let kinds: BTreeSet<&str> = bodies(0).iter().map(Body::kind).collect();
    assert_eq!(kinds, Body::KINDS.iter().copied().collect(), "an event of each kind");
    for length in [10, 100, 512] {
        for body in bodies(length) {
            for uncommitted in [false, true] {
                let event = Event { uncommitted, ..Event::at(Time(UNIX_EPOCH), body.clone()) };
                let line = line::of(&event);
                let (head, below) = line.split_once('\n').unwrap_or((&line, ""));
                assert!(head.chars().count() <= 160, "{} characters:\n{line}", head.chars().count());
                assert!(head.len() > 30, "{line}");
                assert!(below.lines().all(|line| line.starts_with("    ")), "{line}");
                assert_eq!(line.ends_with("[not in the event store]"), uncommitted, "{line}");
            }
        }
    }
}

/// The bytes that are too many are stated once, by whichever part of the event.
#[test]
fn an_oversize_creation_states_its_excess_once() {
    for body in bodies(10) {
        let (line, excess) = match &body {
            Body::Denied(it) | Body::WouldDeny(it) | Body::Exempt(it) => (body.clone(), it.excess_bytes),
            Body::SetUp(it) => (body.clone(), it.judgement.as_ref().and_then(|found| found.excess_bytes)),
            _ => continue,
        };
        let excess = crate::model::units::Bytes(excess.expect("judged")).to_string();
        let text = line::of(&Event::at(Time(UNIX_EPOCH), line));
        assert_eq!(text.matches(&excess).count() - text.matches(&format!("{excess} of DRAM")).count(), 1, "{text}");
    }
}
