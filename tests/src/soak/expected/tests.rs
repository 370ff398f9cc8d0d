use serde_json::json;

use super::*;

fn facts(value: Value) -> Facts {
    value.as_object().unwrap().clone()
}

fn of(block: &str) -> Facts {
    facts(json!({ "event": "set_up", "block": block }))
}

fn event(block: &str) -> Value {
    json!({ "event": "set_up", "namespace_uuid": "u", "block": block, "more": 1 })
}

fn streams(expected: &[Expected], told: &[Value]) -> Streams {
    let mut streams = Streams::default();
    expected.iter().for_each(|one| streams.expect("namespace u", one.clone()));
    told.iter().for_each(|event| streams.record(event));
    streams
}

#[test]
fn all_in_its_order_is_well_and_nothing_else_is() {
    let expected = [Expected::required(of("made")), Expected::required(of("existing"))];
    assert_eq!(streams(&expected, &[event("made"), event("existing")]).complaint(), None);
    for told in
        [vec![], vec![event("made")], vec![event("existing"), event("made")], vec![event("made"), event("made")]]
    {
        assert!(streams(&expected, &told).complaint().is_some(), "{told:?}");
    }
    let once_more = streams(&expected, &[event("made"), event("existing"), event("existing")]).complaint().unwrap();
    assert!(once_more.contains("nothing was expected"), "{once_more}");
}

#[test]
fn what_need_not_come_is_not_taken_for_what_must() {
    let expected =
        [Expected::optional(of("existing")), Expected::required(of("existing")), Expected::optional(of("made"))];
    assert_eq!(streams(&expected, &[event("existing")]).complaint(), None);
    assert_eq!(streams(&expected, &[event("existing"), event("existing"), event("made")]).complaint(), None);
    assert!(streams(&expected, &[]).complaint().unwrap().contains("\"block\":\"existing\""));
}

#[test]
fn one_of_several_kinds() {
    let either =
        Expected { one_of: vec![of("existing"), facts(json!({ "event": "existing_namespace" }))], surely: true };
    let found = json!({ "event": "existing_namespace", "namespace_uuid": "u" });
    for told in [event("existing"), found] {
        assert_eq!(streams(std::slice::from_ref(&either), &[told]).complaint(), None);
    }
    assert!(streams(&[either], &[event("made")]).complaint().is_some());
}

#[test]
fn after_a_doubt_what_was_told_stays_and_what_was_not_may_come() {
    let mut doubted = streams(&[Expected::required(of("made")), Expected::required(of("existing"))], &[event("made")]);
    doubted.take_uncertain();
    assert_eq!(doubted.complaint(), None);
    assert_eq!(doubted.compare(&[event("made"), event("existing")]), None);
    assert!(doubted.compare(&[event("existing")]).is_some(), "the first was reported");
}

#[test]
fn what_nobody_counts_is_left_out_and_what_nobody_knows_is_not() {
    let raw = json!({ "event": "unbind", "device": "namespace0.1", "namespace_uuid": "u" });
    assert_eq!(streams(&[], &[json!({ "event": "label" }), raw]).complaint(), None);
    for unheard in [json!({ "event": "lost" }), event("made"), json!({ "event": "set_up" })] {
        assert!(streams(&[], &[unheard]).complaint().is_some());
    }
}
