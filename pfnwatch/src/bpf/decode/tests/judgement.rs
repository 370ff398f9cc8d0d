use pfnwatch_common::record::{Decision, Judgement, Unjudged};
use serde_json::json;

use super::super::samples::denial;
use super::*;
use crate::model::event::{GuardDecision, UnjudgedReason};
use crate::model::verdict::Cause;

fn body(record: &Judgement) -> Result<Body, DecodeError> {
    decode(record.as_bytes(), &context()).map(|event| event.body)
}

fn denied(record: &Judgement) -> GuardDecision {
    match body(record) {
        Ok(Body::Denied(judged)) => *judged,
        other => panic!("not a denial: {other:?}"),
    }
}

#[test]
fn a_denial_to_the_byte() {
    let judged = denied(&denial());
    assert_eq!((judged.reservation_bytes, judged.ideal_bytes), (Some(35_651_584), Some(18_874_368)));
    assert_eq!((judged.excess_bytes, judged.end_trunc_bytes), (Some(16_777_216), Some(0)));
    assert_eq!((judged.max_struct_page_size_bytes, judged.policy), (Some(128), 3));
    assert_eq!((judged.cause, judged.class), (Cause::RegressedKernel, Some('A')));
    assert_eq!((judged.reason, judged.exemption, judged.incomplete), (None, None, false));
    let namespace = judged.namespace.expect("a namespace");
    assert_eq!((namespace.start_address, namespace.size_bytes), (4 << 30, 1 << 30));
    assert_eq!(judged.by.map(|actor| (actor.pid, actor.comm)), Some((42, "ndctl".to_owned())));
}

#[test]
fn each_decision_is_its_own_event() {
    let of = |decision: Decision, unjudged: Unjudged| {
        body(&Judgement { decision: decision as u32, unjudged: unjudged as u32, ..denial() }).expect("an event")
    };
    assert!(matches!(of(Decision::Denied, Unjudged::None), Body::Denied(_)));
    assert!(matches!(of(Decision::WouldDeny, Unjudged::None), Body::WouldDeny(_)));
    assert!(matches!(of(Decision::Exempt, Unjudged::None), Body::Exempt(_)));
    for (wire, why) in [
        (Unjudged::NotArmed, UnjudgedReason::NotArmed),
        (Unjudged::ModuleChanged, UnjudgedReason::ModuleChanged),
        (Unjudged::NoMaxStructPage, UnjudgedReason::NoMaxStructPage),
        (Unjudged::PolicyChanged, UnjudgedReason::PolicyChanged),
        (Unjudged::BlockMissed, UnjudgedReason::BlockMissed),
    ] {
        let Body::Unjudged(judged) = of(Decision::Unjudged, wire) else { panic!("{wire:?} is judged") };
        assert_eq!(judged.reason, Some(why));
    }
}

#[test]
fn what_was_not_computed_is_no_number() {
    let judged = denied(&Judgement { dataoff: 0, ideal_dataoff: 0, max_struct_page: 0, ..denial() });
    assert_eq!((judged.reservation_bytes, judged.ideal_bytes, judged.excess_bytes), (None, None, None));
    assert_eq!((judged.max_struct_page_size_bytes, judged.cause), (None, Cause::None));
}

#[test]
fn another_struct_page_is_another_cause() {
    assert_eq!(denied(&Judgement { max_struct_page: 80, ..denial() }).cause, Cause::WideStructPage);
    assert_eq!(denied(&Judgement { ideal_dataoff: 34 << 20, ..denial() }).cause, Cause::None);
}

#[test]
fn an_exemption_has_its_number() {
    let judged = denied(&Judgement { exemption: 5, ..denial() });
    assert_eq!(judged.exemption.map(|used| (used.id, used.subject)), Some((5, None)));
}

#[test]
fn numbers_of_another_version_are_errors() {
    for (record, error) in [
        (Judgement { decision: 9, ..denial() }, DecodeError::UnknownDecision(9)),
        (Judgement { decision: 0, ..denial() }, DecodeError::UnknownDecision(0)),
        (Judgement { unjudged: 6, ..denial() }, DecodeError::UnknownReason(6)),
        (Judgement { personality: Personality::Btt as u32, ..denial() }, DecodeError::NotGuarded(3)),
    ] {
        assert_eq!(body(&record), Err(error));
    }
    let record = denial();
    let cut = &record.as_bytes()[..100];
    assert!(matches!(
        decode(cut, &context()),
        Err(DecodeError::WrongLength { kind: RecordKind::Judgement, found: 100, .. })
    ));
}

#[test]
fn the_json_has_design_keys() {
    let event = decode(denial().as_bytes(), &context()).expect("an event");
    let json = serde_json::to_value(event).expect("JSON");
    for (key, value) in [
        ("schema", json!(1)),
        ("event", json!("denied")),
        ("time", json!("1970-01-01T00:16:40.005000Z")),
        ("device", json!("pfn0.1")),
        ("region", json!("region0")),
        ("namespace", json!("namespace0.0")),
        ("namespace_uuid", json!("09090909-0909-0909-0909-090909090909")),
        ("start_address", json!(4_u64 << 30)),
        ("size_bytes", json!(1 << 30)),
        ("personality", json!("fsdax")),
        ("map", json!("dev")),
        ("align_bytes", json!(2 << 20)),
        ("block_uuid", json!("07070707-0707-0707-0707-070707070707")),
        ("reservation_bytes", json!(34 << 20)),
        ("ideal_bytes", json!(18 << 20)),
        ("excess_bytes", json!(16 << 20)),
        ("max_struct_page_size_bytes", json!(128)),
        ("cause", json!("regressed_kernel")),
        ("class", json!("A")),
        ("policy", json!(3)),
    ] {
        assert_eq!(json.get(key), Some(&value), "{key}");
    }
    assert_eq!(json.pointer("/by/comm"), Some(&json!("ndctl")));
}
