use crate::testing::events as samples;
use proptest::prelude::*;
use serde_json::{Value, json};
use zerocopy::IntoBytes as _;

use super::*;
use crate::bpf::decode;
use crate::model::policy::{Exemption, ExemptionSubject, Mode};
use crate::model::thresholds::Thresholds;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const UUID: &str = "9d58c5d0-3a3f-4bd6-8a3c-0d6a9a8d1f11";

fn written(record: &[u8]) -> Value {
    serde_json::to_value(decode::decode(record, &samples::context()).expect("an event")).expect("JSON")
}

/// A set-up that made a block with this reservation, for 1 GiB.
fn made(reservation: u64) -> Value {
    let mut line = written(samples::creation().as_bytes());
    line["reservation_bytes"] = reservation.into();
    line
}

/// The guard's event of a creation of 16 GiB under a kernel with the regression.
fn guard(event: &str) -> Value {
    json!({
        "schema": 1, "time": "2026-11-22T12:00:00.000000Z", "event": event, "namespace": "namespace0.3",
        "namespace_uuid": UUID, "block_uuid": "07070707-0707-0707-0707-070707070707", "start_address": 4 * GIB,
        "size_bytes": 16 * GIB, "align_bytes": 2 * MIB, "reservation_bytes": 514 * MIB, "ideal_bytes": 258 * MIB,
        "excess_bytes": 256 * MIB,
    })
}

fn held(lines: &[Value], policy: &Policy, regions: &[RegionFacts]) -> Evaluation {
    let text: Vec<_> = lines.iter().map(Value::to_string).collect();
    evaluate(text.join("\n").as_bytes(), policy, regions).expect("readable")
}

fn outcomes(against: &Evaluation) -> Vec<PolicyOutcome> {
    against.creations.iter().map(|creation| creation.decision).collect()
}

fn exempting(subject: ExemptionSubject, until: Option<&str>) -> Policy {
    let until = until.map(|text| humantime::parse_rfc3339(text).expect("a time"));
    Policy { exemptions: vec![Exemption { subject, until, reason: "why".to_owned() }], ..Policy::default() }
}

#[test]
fn what_the_agent_writes_is_understood() {
    let against = held(&[made(18 * MIB), made(34 * MIB)], &Policy::default(), &[]);
    assert_eq!(outcomes(&against), [PolicyOutcome::Passes, PolicyOutcome::WouldDeny]);
    let creation = &against.creations[1];
    assert_eq!(
        (creation.reservation_bytes, creation.ideal_bytes, creation.excess_bytes),
        (Some(34 * MIB), Some(18 * MIB), Some(16 * MIB))
    );
    assert_eq!((against.counts.would_deny, against.counts.denied_excess_bytes), (1, 16 * MIB));
    assert!(against.denies() && !held(&[made(18 * MIB)], &Policy::default(), &[]).denies());
}

#[test]
fn what_the_guard_says_is_understood() {
    let line = written(samples::denial().as_bytes());
    let against = held(std::slice::from_ref(&line), &Policy::default(), &[]);
    assert_eq!(outcomes(&against), [PolicyOutcome::WouldDeny], "{line}");
    let creation = serde_json::to_value(&against.creations[0]).expect("JSON");
    for key in ["event", "namespace", "namespace_uuid", "start_address", "size_bytes", "align_bytes"] {
        assert!(!line[key].is_null() && creation[key] == line[key], "{key}: {line}");
    }
    for key in ["reservation_bytes", "ideal_bytes", "excess_bytes"] {
        assert!(!line[key].is_null() && creation[key] == line[key], "{key}: {line}");
    }
}

#[test]
fn the_ideal_is_this_policys_and_not_that_of_the_agent() {
    let thresholds = Thresholds { reference_struct_page: 128, ..Thresholds::default() };
    let policy = Policy { thresholds, ..Policy::default() };
    let ready = json!({"schema": 1, "time": "2026-11-22T11:00:00Z", "event": "ready", "page_size_bytes": 4096});
    let against = held(&[made(34 * MIB), ready, guard("denied")], &policy, &[]);
    assert_eq!(outcomes(&against), [PolicyOutcome::Passes, PolicyOutcome::Passes]);
    // The page size is not recorded: the agent's own result is used.
    assert_eq!(held(&[guard("denied")], &policy, &[]).creations[0].ideal_bytes, Some(258 * MIB));
}

#[test]
fn the_mode_says_what_a_denial_is() {
    let lines = [guard("denied"), guard("would_deny")];
    assert_eq!(outcomes(&held(&lines, &Policy::default(), &[])), [PolicyOutcome::WouldDeny; 2]);
    let enforce = Policy { mode: Mode::Enforce, ..Policy::default() };
    assert_eq!(outcomes(&held(&lines, &enforce, &[])), [PolicyOutcome::Denied; 2]);
}

#[test]
fn exemptions_count_as_of_the_event() {
    let regions = [RegionFacts { set_cookie: Some(77), start: 4 * GIB, size: 64 * GIB }];
    let namespace = ExemptionSubject::Namespace(UUID.parse().expect("a uuid"));
    let (before, after) = (Some("2026-11-22T12:00:00Z"), Some("2026-11-22T12:00:01Z"));
    for (subject, until, regions, expected) in [
        (namespace, None, &[][..], PolicyOutcome::Exempt),
        (namespace, after, &[], PolicyOutcome::Exempt),
        (namespace, before, &[], PolicyOutcome::WouldDeny),
        (ExemptionSubject::Namespace(Uuid::from_u128(1)), None, &[], PolicyOutcome::WouldDeny),
        (ExemptionSubject::RegionCookie(77), None, &regions, PolicyOutcome::Exempt),
        (ExemptionSubject::RegionStart(4 * GIB), None, &regions, PolicyOutcome::Exempt),
        (ExemptionSubject::RegionStart(5 * GIB), None, &regions, PolicyOutcome::WouldDeny),
        (ExemptionSubject::RegionCookie(77), None, &[], PolicyOutcome::Unknown),
    ] {
        let against = held(&[guard("would_deny")], &exempting(subject, until), regions);
        assert_eq!(outcomes(&against), [expected], "{subject:?} {until:?}");
    }
    let nil = exempting(ExemptionSubject::Namespace(Uuid::nil()), None);
    let mut unlabelled = guard("denied");
    unlabelled["namespace_uuid"] = Value::Null;
    assert_eq!(outcomes(&held(&[unlabelled], &nil, &[])), [PolicyOutcome::WouldDeny], "the null uuid is nobody's");
}

#[test]
fn one_creation_that_two_lines_tell_of_is_one() {
    let mut written = guard("set_up");
    (written["block"], written["map"]) = ("made".into(), "dev".into());
    let lines = [guard("denied"), guard("would_deny"), written.clone()];
    let against = held(&lines, &Policy::default(), &[]);
    let events: Vec<_> = against.creations.iter().filter_map(|creation| creation.event.as_deref()).collect();
    assert_eq!(events, ["denied", "set_up"]);
    let (mut met, mut in_dram) = (written.clone(), written);
    (met["block"], in_dram["map"]) = ("existing".into(), "mem".into());
    let against = held(&[met, in_dram], &Policy::default(), &[]);
    assert_eq!((against.creations.len(), against.unjudged), (0, 2));
}

#[test]
fn what_is_not_known_is_not_guessed() {
    let mut unjudged = guard("unjudged");
    unjudged["reservation_bytes"] = 0.into();
    let mut bare = guard("denied");
    bare["size_bytes"] = Value::Null;
    assert_eq!(outcomes(&held(&[unjudged, bare], &Policy::default(), &[])), [PolicyOutcome::Unknown; 2]);
}

#[test]
fn lines_that_are_no_events_are_counted_and_the_first_is_named() {
    let (mut newer, mut timeless) = (guard("denied"), guard("denied"));
    newer["schema"] = 2.into();
    timeless["time"] = "noon".into();
    let other = json!({"schema": 1, "time": "2026-11-22T12:00:00Z", "event": "stopped", "received": 3});
    let text = format!("\n{other}\nnot JSON\n{newer}\n{timeless}\n{}", guard("denied"));
    let against = evaluate(text.as_bytes(), &Policy::default(), &[]).expect("readable");
    assert_eq!((against.creations.len(), against.unreadable_lines), (1, 3));
    assert!(against.first_unreadable.expect("named").starts_with("line 3: expected ident"));
    let error = evaluate("2026 ready\n".as_bytes(), &Policy::default(), &[]).expect_err("no event at all").to_string();
    assert!(error.contains("--format json") && error.contains("line 1"), "{error}");
    assert!(evaluate(&b""[..], &Policy::default(), &[]).expect("nothing to judge").creations.is_empty());
}

proptest! {
    #[test]
    fn no_line_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = evaluate(&bytes[..], &Policy::default(), &[]);
    }

    #[test]
    fn no_numbers_panic(size: u64, start: u64, align: u64, reservation: u64, page: u64) {
        let mut line = guard("denied");
        line["size_bytes"] = size.into();
        line["start_address"] = start.into();
        line["align_bytes"] = align.into();
        line["reservation_bytes"] = reservation.into();
        line["page_size_bytes"] = page.into();
        let policy = exempting(ExemptionSubject::RegionStart(start), None);
        held(&[line], &policy, &[RegionFacts { set_cookie: None, start, size }]);
    }
}
