use super::act::Shape;
use super::*;
use crate::MIB;
use crate::creation::{Map, Mode};

fn target(uuid: &str, map: Map, mebibytes: u64) -> Target {
    let shape = Shape { mode: Mode::Fsdax, map, size_bytes: mebibytes * MIB, align_bytes: 2 * MIB };
    Target { uuid: uuid.to_owned(), region: 0, start: 4096 * MIB, shape }
}

fn strict(stance: GuardMode, hold: bool) -> Configured {
    Configured { strict: true, stance, hold }
}

fn with_agent(file: Configured) -> Model {
    let mut model = Model::new();
    model.started(file);
    model
}

#[test]
fn denied_is_what_is_oversize_in_enforce_and_nothing_else() {
    let big = target("u", Map::Dev, 512);
    assert_eq!(Model::new().judge(&big), ExpectedDecision::Fine, "nobody is there");
    let mut model = with_agent(strict(GuardMode::Enforce, false));
    assert_eq!(model.judge(&big), ExpectedDecision::Denied);
    assert_eq!(model.judge(&target("u", Map::Mem, 512)), ExpectedDecision::Fine);
    assert_eq!(model.judge(&target("u", Map::Dev, 64)), ExpectedDecision::Fine);
    model.mode_set(GuardMode::Audit);
    assert_eq!(model.judge(&big), ExpectedDecision::WouldDeny);
    model.granted(Grant { id: 7, subject: Subject::Region(0), once: true });
    let exempt = model.judge(&big);
    assert_eq!(exempt, ExpectedDecision::Exempt { id: 7, once: true });
    model.tried(&big, "b", exempt);
    assert_eq!(model.judge(&target("v", Map::Dev, 512)), ExpectedDecision::WouldDeny, "it is spent");
    model.reloaded(Configured { strict: false, stance: GuardMode::Enforce, hold: false });
    assert_eq!(
        model.judge(&target("v", Map::Dev, 512)),
        ExpectedDecision::Fine,
        "a sound kernel's reservation is the ideal"
    );
}

#[test]
fn a_held_guard_denies_on_and_forgets_with_libnvdimm() {
    let mut model = with_agent(strict(GuardMode::Audit, true));
    model.mode_set(GuardMode::Enforce);
    model.killed();
    let big = target("u", Map::Dev, 512);
    assert_eq!(model.judge(&big), ExpectedDecision::Denied, "the mode that was set");
    model.libnvdimm_reloaded();
    assert_eq!(model.judge(&big), ExpectedDecision::Unjudged);
    model.started(strict(GuardMode::Audit, true));
    assert_eq!(model.judge(&big), ExpectedDecision::Denied, "the mode that a person has set");
    model.reloaded(strict(GuardMode::Audit, true));
    assert_eq!(model.judge(&big), ExpectedDecision::Denied, "it outlives a reload");
    model.released();
    assert_eq!(model.judge(&big), ExpectedDecision::Fine);
}

#[test]
fn what_nobody_saw_is_found_and_what_an_agent_saw_is_told() {
    let small = target("u", Map::Dev, 64);
    let mut model = Model::new();
    model.tried(&small, "b", ExpectedDecision::Fine);
    model.started(strict(GuardMode::Audit, false));
    model.disabled("u");
    let reservation = 2 * MIB;
    let event = |kind: &str| {
        json!({
            "event": kind, "namespace_uuid": "u", "block_uuid": "b", "start_address": 4096 * MIB, "size_bytes": 64 * MIB,
            "align_bytes": 2 * MIB, "personality": "fsdax", "map": "dev", "enabled": true, "incomplete": false,
            "reservation_bytes": reservation, "device": "pfn0.1",
        })
    };
    let agent = [json!({ "event": "policy_loaded" }), json!({ "event": "ready", "state": "observing" })];
    let all = [agent.as_slice(), &[event("existing_namespace"), event("unbind")]].concat();
    assert_eq!(model.streams.compare(&all), None);
    assert!(model.streams.compare(&all[..3]).is_some(), "the unbind is missing");
    let mut wrong = all.clone();
    wrong[2]["reservation_bytes"] = json!(reservation + 1);
    assert!(model.streams.compare(&wrong).unwrap().contains("reservation_bytes"));
}

/// Beside an agent that is blind all is allowed; a guard that is held records that, and the agent finds what was made.
#[test]
fn what_was_made_beside_a_blind_agent_is_found() {
    for (hold, decision) in [(true, ExpectedDecision::Unjudged), (false, ExpectedDecision::Fine)] {
        let big = target("u", Map::Dev, 512);
        let mut model = with_agent(strict(GuardMode::Enforce, hold));
        model.blinded();
        assert_eq!(model.judge(&big), decision);
        assert_eq!(model.judge(&target("v", Map::Mem, 512)), ExpectedDecision::Fine);
        model.tried(&big, "b", decision);
        model.sees_again();
        assert_eq!(model.judge(&target("v", Map::Dev, 512)), ExpectedDecision::Denied);
        let event = |kind: &str| {
            json!({
                "event": kind, "namespace_uuid": "u", "block_uuid": "b", "start_address": 4096 * MIB,
                "size_bytes": 512 * MIB, "align_bytes": 2 * MIB, "personality": "fsdax", "map": "dev", "enabled": true,
                "reservation_bytes": 10 * MIB,
            })
        };
        let agent = ["policy_loaded", "ready", "policy_loaded", "blind", "policy_loaded", "ready"];
        let agent = agent.map(|kind| json!({ "event": kind, "state": "observing" }));
        let found = [agent.as_slice(), &[event("existing_namespace")]].concat();
        let all = [found.as_slice(), &[event("unjudged")]].concat();
        assert_eq!(model.streams.compare(if hold { &all } else { &found }), None);
        assert!(model.streams.compare(&agent).is_some(), "it has to be found");
        assert_eq!(model.streams.compare(&found).is_some(), hold, "a held guard records it");
    }
}
