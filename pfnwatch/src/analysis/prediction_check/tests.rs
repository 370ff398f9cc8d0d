use pfnwatch_common::record::{Attempt, Decision, Judgement};
use zerocopy::IntoBytes as _;

use super::*;
use crate::analysis::event_assessment::judge;
use crate::analysis::event_assessment::tests::host;
use crate::model::thresholds::Thresholds;
use crate::testing::events::{context, creation, decode, denial};

const GOOD: u64 = 18 << 20;
const OVERSIZE: u64 = 34 << 20;
/// The creation begins four milliseconds after the boot, and ends in the fifth.
const BEFORE: Duration = Duration::ZERO;
const MEANWHILE: Duration = Duration::from_micros(4500);

fn made(reservation: u64) -> Attempt {
    let block = pfnwatch_common::InfoBlock::sample(reservation, if reservation == GOOD { 64 } else { 128 });
    let mut record = creation();
    let head = record.block.len();
    record.block.copy_from_slice(&block.encode()[..head]);
    record
}

fn decision(decision: Decision) -> Judgement {
    Judgement { decision: decision as u32, ..denial() }
}

fn decoded(tracker: &mut PredictionTracker, record: &[u8]) -> Event {
    let mut event = decode(record, &context()).expect("an event");
    judge(&mut event, &host(), &Thresholds::default());
    tracker.follow(&mut event, context().booted);
    event
}

fn checked(attached: bool, judgements: &[Judgement], setup: &Attempt) -> Option<Prediction> {
    let mut tracker = PredictionTracker::default();
    tracker.attached(attached, BEFORE);
    for judgement in judgements {
        decoded(&mut tracker, judgement.as_bytes());
    }
    match decoded(&mut tracker, setup.as_bytes()).body {
        Body::SetUp(setup) => setup.guard,
        other => panic!("{other:?}"),
    }
}

fn prediction(decision: GuardVerdict, predicted_bytes: Option<u64>, mismatch: bool) -> Option<Prediction> {
    Some(Prediction { decision, predicted_bytes, mismatch })
}

#[test]
fn silence_is_a_pass_and_a_surprise_where_it_is_oversize() {
    assert_eq!(checked(true, &[], &made(GOOD)), prediction(GuardVerdict::Passed, None, false));
    assert_eq!(checked(true, &[], &made(OVERSIZE)), prediction(GuardVerdict::Passed, None, true));
    assert_eq!(checked(false, &[], &made(OVERSIZE)), prediction(GuardVerdict::NotSeen, None, false));
}

/// A guard that held on judged by an older configuration; so does one whose configuration changes while a creation is in the air.
#[test]
fn silence_says_nothing_by_thresholds_that_came_later() {
    let mut tracker = PredictionTracker::default();
    let said = |tracker: &mut PredictionTracker| match decoded(tracker, made(OVERSIZE).as_bytes()).body {
        Body::SetUp(setup) => setup.guard.map(|guard| (guard.decision, guard.mismatch)),
        other => panic!("{other:?}"),
    };
    tracker.attached(true, MEANWHILE);
    assert_eq!(said(&mut tracker), Some((GuardVerdict::NotSeen, false)));
    tracker.attached(false, MEANWHILE);
    tracker.attached(true, BEFORE);
    tracker.attached(true, MEANWHILE);
    assert_eq!(said(&mut tracker), Some((GuardVerdict::Passed, true)), "it went on");
    tracker.on_thresholds_changed(MEANWHILE);
    assert_eq!(said(&mut tracker), Some((GuardVerdict::NotSeen, false)));
}

#[test]
fn what_was_said_is_held_against_what_was_made() {
    for (decided, said) in [(Decision::WouldDeny, GuardVerdict::WouldDeny), (Decision::Exempt, GuardVerdict::Exempt)] {
        let said_so = [decision(decided)];
        assert_eq!(checked(true, &said_so, &made(OVERSIZE)), prediction(said, Some(OVERSIZE), false));
        assert_eq!(checked(true, &said_so, &made(GOOD)), prediction(said, Some(OVERSIZE), true), "another reservation");
    }
    let unjudged = [Judgement { dataoff: 0, ..decision(Decision::Unjudged) }];
    assert_eq!(checked(true, &unjudged, &made(OVERSIZE)), prediction(GuardVerdict::Unjudged, None, false));
}

#[test]
fn only_what_was_made_with_map_dev_has_a_prediction() {
    assert_eq!(checked(true, &[], &Attempt { setup_validate: 0, ..made(OVERSIZE) }), None, "met");
    assert_eq!(checked(true, &[], &Attempt { mode: 1, ..made(GOOD) }), None, "map=mem");
    assert_eq!(checked(true, &[], &Attempt { setup_result: -6, ..made(GOOD) }), None, "refused by the kernel");
}

#[test]
fn a_judgement_is_for_one_creation() {
    let mut tracker = PredictionTracker::default();
    tracker.attached(true, BEFORE);
    let mut next = |record: &[u8]| match decoded(&mut tracker, record).body {
        Body::SetUp(setup) => setup.guard.map(|guard| guard.decision),
        _ => None,
    };
    // Another namespace's, another uuid's: not this one's.
    next(Judgement { namespace_start: 8 << 30, ..decision(Decision::WouldDeny) }.as_bytes());
    next(Judgement { device_uuid: [1; 16], ..decision(Decision::WouldDeny) }.as_bytes());
    assert_eq!(next(made(OVERSIZE).as_bytes()), Some(GuardVerdict::Passed));
    // Used up by the attempt that it was about, though that failed.
    next(decision(Decision::WouldDeny).as_bytes());
    next(Attempt { setup_result: -6, ..made(GOOD) }.as_bytes());
    assert_eq!(next(made(OVERSIZE).as_bytes()), Some(GuardVerdict::Passed));
    // A denial cancels the prediction for an attempt whose end was never seen.
    next(decision(Decision::Exempt).as_bytes());
    next(decision(Decision::Denied).as_bytes());
    assert_eq!(next(made(OVERSIZE).as_bytes()), Some(GuardVerdict::Passed));
}

#[test]
fn what_is_never_made_takes_no_memory_for_ever() {
    let mut tracker = PredictionTracker::default();
    for number in 0..2 * MAX_PENDING as u64 {
        let record = Judgement { namespace_start: number << 30, ..decision(Decision::WouldDeny) };
        decoded(&mut tracker, record.as_bytes());
    }
    assert_eq!(tracker.evicted(), MAX_PENDING as u64);
}
