use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::model::policy::{Mode, OnAgentExit};
use crate::model::thresholds::Thresholds;
use crate::policy::judge::{Decision, MatchContext};

const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000_000_000;
const UUID: Uuid = Uuid::from_u128(0x9d58_c5d0_3a3f_4bd6_8a3c_0d6a_9a8d_1f11);
const KERNEL: PolicyKernel =
    PolicyKernel { max_struct_page: Some(128), page_size: 4096, compat: 2 << 20, module_epoch: 7 };
const REGIONS: [RegionFacts; 2] = [
    RegionFacts { set_cookie: Some(0xc00c1e), start: 4 * GIB, size: 16 * GIB },
    RegionFacts { set_cookie: None, start: 64 * GIB, size: GIB },
];

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn exemption(subject: ExemptionSubject, until: Option<u64>) -> Exemption {
    Exemption { subject, until: until.map(at), reason: "a reason".to_owned() }
}

fn grant(id: u64, subject: ExemptionSubject) -> Grant {
    let (reason, by) = ("broken glass".to_owned(), "root (uid 0)".to_owned());
    Grant { id, subject, until_boot_ns: None, once: false, reason, by }
}

fn of(exemptions: Vec<Exemption>, grants: &[Grant]) -> Compiled {
    let policy = Policy { exemptions, ..Policy::default() };
    compile(&policy, grants, &KERNEL, &REGIONS, &Clock::start(at(1000), 50 * SECOND), true)
}

fn entries(compiled: &Compiled) -> &[policy::Exemption] {
    &compiled.snapshot.exemptions[..compiled.snapshot.exemption_count as usize]
}

#[test]
fn what_the_policy_and_the_kernel_say_is_handed_over() {
    let thresholds = Thresholds { reference_struct_page: 32, aligns: 3, parts_per_million: 5 };
    let policy = Policy { mode: Mode::Enforce, thresholds, on_agent_exit: OnAgentExit::Hold, exemptions: Vec::new() };
    let compiled = compile(&policy, &[], &KERNEL, &[], &Clock::start(at(0), 0), true);
    let expected = Snapshot {
        module_epoch: 7,
        max_struct_page: 128,
        reference_struct_page: 32,
        page_size: 4096,
        compat: 2 << 20,
        aligns: 3,
        parts_per_million: 5,
        mode: 2,
        armed: 1,
        ..Snapshot::EMPTY
    };
    assert_eq!(compiled.snapshot, expected);
    let unknown = PolicyKernel { max_struct_page: None, ..KERNEL };
    let compiled = compile(&Policy::default(), &[], &unknown, &[], &Clock::start(at(0), 0), false).snapshot;
    assert_eq!((compiled.max_struct_page, compiled.mode, compiled.armed), (0, 1, 0));
}

#[test]
fn a_region_becomes_its_addresses_and_a_namespace_its_uuid() {
    let compiled = of(
        vec![
            exemption(ExemptionSubject::RegionCookie(0xc00c1e), None),
            exemption(ExemptionSubject::RegionStart(64 * GIB), Some(1010)),
            exemption(ExemptionSubject::Namespace(UUID), None),
        ],
        &[Grant { once: true, until_boot_ns: Some(51 * SECOND), ..grant(5, ExemptionSubject::Namespace(UUID)) }],
    );
    assert_eq!(compiled.skipped, []);
    let [cookie, start, uuid, once] = entries(&compiled) else { panic!("{compiled:?}") };
    assert_eq!((cookie.kind, cookie.first, cookie.last, cookie.until_ns), (1, 4 * GIB, 20 * GIB - 1, NO_EXPIRY));
    assert_eq!((start.kind, start.first, start.last, start.until_ns), (1, 64 * GIB, 65 * GIB - 1, 60 * SECOND));
    assert_eq!((uuid.kind, uuid.namespace_uuid, uuid.once), (2, *UUID.as_bytes(), 0));
    assert_eq!((once.kind, once.id, once.once, once.until_ns), (2, 5, 1, 51 * SECOND));
    let words = |entry: &policy::Exemption| compiled.descriptions[&entry.id].as_str();
    assert_eq!(
        words(start),
        "the configuration exempts the region that starts at 0x1000000000, until 1970-01-01T00:16:50Z: a reason"
    );
    assert_eq!(words(once), format!("root (uid 0) allowed the namespace with uuid {UUID}, once: broken glass"));
}

#[test]
fn what_has_ended_is_not_here_or_has_no_room_is_left_out_and_said() {
    let gone = ExemptionSubject::RegionCookie(0xbad);
    let expired = Grant { until_boot_ns: Some(50 * SECOND), ..grant(9, ExemptionSubject::Namespace(UUID)) };
    let compiled = of(
        vec![
            exemption(gone, None),
            exemption(ExemptionSubject::RegionStart(4 * GIB), Some(1000)),
            exemption(ExemptionSubject::RegionStart(4 * GIB + 1), None),
            exemption(ExemptionSubject::RegionCookie(0), None),
        ],
        &[expired, grant(10, ExemptionSubject::Namespace(Uuid::nil()))],
    );
    assert_eq!(entries(&compiled), []);
    let why: Vec<_> = compiled.skipped.iter().map(|left_out| left_out.reason).collect();
    assert_eq!(
        why,
        [
            SkipReason::Unresolved,
            SkipReason::Expired,
            SkipReason::Unresolved,
            SkipReason::Unresolved,
            SkipReason::Expired,
            SkipReason::Unresolved
        ]
    );
    assert_eq!((compiled.skipped[0].subject, compiled.skipped[4].id), (gone, 9));
    assert_eq!(
        compiled.descriptions[&9], compiled.skipped[4].description,
        "an event that is on its way may still name it"
    );

    let full: Vec<_> = (1..=64).map(|n| exemption(ExemptionSubject::Namespace(Uuid::from_u128(n)), None)).collect();
    let compiled = of(full, &[grant(11, ExemptionSubject::Namespace(UUID))]);
    assert_eq!(entries(&compiled).len(), 64);
    let [left_out] = &compiled.skipped[..] else { panic!("{:?}", compiled.skipped) };
    assert_eq!((left_out.id, left_out.reason), (11, SkipReason::NoRoom));
}

/// Each region of ramdax has the cookie 0xcafebeefcafebeef.
#[test]
fn a_cookie_of_more_than_one_region_exempts_none() {
    let exemptions = [1, 2].map(|cookie| exemption(ExemptionSubject::RegionCookie(cookie), None)).to_vec();
    let region = |cookie, start, size| RegionFacts { set_cookie: Some(cookie), start, size };
    let regions = [region(1, 0, GIB), region(2, GIB, GIB), region(1, 2 * GIB, GIB)];
    let policy = Policy { exemptions, ..Policy::default() };
    let compiled = compile(&policy, &[], &KERNEL, &regions, &Clock::start(at(0), 0), true);
    let ranges: Vec<_> = entries(&compiled).iter().map(|entry| (entry.first, entry.last)).collect();
    assert_eq!(ranges, [(GIB, 2 * GIB - 1)]);
    let [skipped] = &compiled.skipped[..] else { panic!("{:?}", compiled.skipped) };
    assert_eq!((skipped.subject, skipped.reason), (ExemptionSubject::RegionCookie(1), SkipReason::Ambiguous));
    assert!(skipped.reason.to_string().contains("region_start"), "{}", skipped.reason);
}

/// Two NVDIMMs, or regions without a size or beyond the last address, are no range.
#[test]
fn a_region_without_a_range_is_not_exempt() {
    let starts = [GIB, u64::MAX].map(|start| exemption(ExemptionSubject::RegionStart(start), None)).to_vec();
    let regions = [(GIB, 0), (u64::MAX, 2)].map(|(start, size)| RegionFacts { set_cookie: None, start, size });
    let policy = Policy { exemptions: starts, ..Policy::default() };
    let compiled = compile(&policy, &[], &KERNEL, &regions, &Clock::start(at(0), 0), true);
    assert_eq!((entries(&compiled), compiled.skipped.len()), (&[][..], 2));
}

#[test]
fn ids_follow_what_is_said_and_never_meet() {
    let (one, other) =
        (exemption(ExemptionSubject::RegionStart(4 * GIB), None), exemption(ExemptionSubject::Namespace(UUID), None));
    let ids = |exemptions: Vec<Exemption>| -> Vec<u64> { entries(&of(exemptions, &[])).iter().map(|e| e.id).collect() };
    let before = ids(vec![one.clone(), other.clone()]);
    assert_eq!(ids(vec![other.clone()]), before[1..], "it keeps its id when another goes");
    let changed = Exemption { reason: "another".to_owned(), ..other };
    assert!(!before.contains(&ids(vec![changed])[0]), "another reason is another exemption");
    let twice = ids(vec![one.clone(), one]);
    assert!(twice[0] != twice[1], "even if two are equal");
    assert!(before.iter().chain(&twice).all(|id| id & CONFIGURED_ID_BIT != 0 && *id < 1 << 53));
    // The same for every build: a pinned guard outlives an upgrade.
    let known = Exemption { subject: ExemptionSubject::RegionStart(64 * GIB), until: None, reason: "why".to_owned() };
    assert_eq!(ids(vec![known]), [6_025_345_409_315_612]);
}

fn lets_pass(snapshot: &Snapshot, start: u64, uuid: Uuid, now_ns: u64) -> bool {
    snapshot.exemptions[..snapshot.exemption_count as usize].iter().any(|entry| {
        let range = entry.kind == ExemptionKind::Range as u32 && (entry.first..=entry.last).contains(&start);
        let namespace = entry.kind == ExemptionKind::Namespace as u32 && entry.namespace_uuid == *uuid.as_bytes();
        now_ns < entry.until_ns && (range || namespace)
    })
}

fn any_subject() -> impl Strategy<Value = ExemptionSubject> {
    prop_oneof![
        (0_u64..4).prop_map(ExemptionSubject::RegionCookie),
        (0_u64..8).prop_map(ExemptionSubject::RegionStart),
        (0_u128..4).prop_map(|uuid| ExemptionSubject::Namespace(Uuid::from_u128(uuid))),
    ]
}

proptest! {
    /// The guard by its snapshot and `policy check` by the policy allow the same creations.
    #[test]
    fn the_snapshot_exempts_what_the_policy_exempts(
        exemptions in proptest::collection::vec((any_subject(), proptest::option::of(900_u64..1100)), 0..6),
        cookies in proptest::collection::vec(proptest::option::of(1_u64..4), 4),
        start in 0_u64..8, uuid in 0_u128..4, now in 1000_u64..1100,
    ) {
        let exemptions = exemptions.into_iter().map(|(subject, until)| exemption(subject, until)).collect();
        let policy = Policy { exemptions, ..Policy::default() };
        // Four regions side by side, of 2 bytes each.
        let region = |(index, set_cookie): (u64, &Option<u64>)| RegionFacts { set_cookie: *set_cookie, start: index * 2, size: 2 };
        let regions: Vec<_> = (0..).zip(&cookies).map(region).collect();
        let compiled = compile(&policy, &[], &KERNEL, &regions, &Clock::start(at(1000), 50 * SECOND), true);
        let uuid = Uuid::from_u128(uuid);
        let place = MatchContext::at(Some(start), Some(uuid), &regions);
        let decision = policy.decide(true, &place, at(now));
        prop_assert!(!matches!(decision, Decision::Allowed | Decision::MaybeExempt(_)), "{:?}", decision);
        let passes = lets_pass(&compiled.snapshot, start, uuid, (now - 950) * SECOND);
        prop_assert_eq!(passes, matches!(decision, Decision::Exempt(_)));
    }
}
