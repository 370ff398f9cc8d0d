//! Compares the guard's prediction for a creation with its outcome: a creation that the guard silently allowed and that
//! is oversize is a mismatch. Pure.

use std::time::{Duration, SystemTime};

use pfnwatch_common::Map;
use uuid::Uuid;

use crate::model::{
    bounded::BoundedMap,
    event::{BlockState, Body, Event, GuardDecision, GuardVerdict, NamespaceId, Prediction, SetUp},
    verdict::Verdict,
};

/// The limit of creations between their judgement and the end of their bind. Each has a thread of its own.
const MAX_PENDING: usize = 1024;

/// Identifies a creation in progress.
type Key = (String, Option<u64>, Option<Uuid>);

#[derive(Debug, Default)]
pub struct PredictionTracker {
    /// Since when, after the boot, a guard has judged by the current thresholds.
    active_since: Option<Duration>,
    decisions: BoundedMap<Key, (GuardVerdict, Option<u64>), MAX_PENDING>,
}

impl PredictionTracker {
    /// Whether a guard is attached and armed from now on, `since_boot`: only then does silence mean that it found no
    /// fault.
    pub fn attached(&mut self, judging: bool, since_boot: Duration) {
        self.active_since = judging.then(|| self.active_since.unwrap_or(since_boot));
    }

    /// The thresholds change: nothing follows from earlier silence, which may be reported later.
    pub fn on_thresholds_changed(&mut self, since_boot: Duration) {
        self.active_since = self.active_since.map(|_| since_boot);
    }

    /// Tracks the guard's events, and sets [`SetUp::guard`] on a set-up that made a block with map=dev. It needs the
    /// verdict, so the event has to be assessed before. The host was `booted` then.
    pub fn follow(&mut self, event: &mut Event, booted: SystemTime) {
        let ended = event.time.0.duration_since(booted).unwrap_or_default();
        match &mut event.body {
            Body::Denied(judged) => {
                self.decisions.remove(&key_of(judged));
            }
            Body::WouldDeny(judged) => self.record_decision(judged, GuardVerdict::WouldDeny, ended),
            Body::Exempt(judged) => self.record_decision(judged, GuardVerdict::Exempt, ended),
            Body::Unjudged(judged) => self.record_decision(judged, GuardVerdict::Unjudged, ended),
            Body::SetUp(setup) => setup.guard = self.compare(setup, ended),
            _ => {}
        }
    }

    /// How many decisions were evicted because there were too many.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.decisions.evicted()
    }

    fn record_decision(&mut self, judged: &GuardDecision, decision: GuardVerdict, since_boot: Duration) {
        let evicted = self.decisions.evicted();
        self.decisions.insert(key_of(judged), (decision, judged.reservation_bytes));
        if self.decisions.evicted() > evicted {
            // The creation of the evicted decision would look as if the guard had passed it.
            self.active_since = self.active_since.map(|since| since.max(since_boot));
        }
    }

    fn compare(&mut self, setup: &SetUp, ended: Duration) -> Option<Prediction> {
        let said = self.decisions.remove(&key(&setup.attempt.device, setup.namespace.as_ref(), setup.block_uuid));
        if setup.block != BlockState::Made || setup.map != Some(Map::Dev) {
            return None;
        }
        let began = ended.saturating_sub(Duration::from_micros(setup.attempt.duration_us));
        let was_judged = self.active_since.is_some_and(|since| began >= since);
        let silence = if was_judged { GuardVerdict::Passed } else { GuardVerdict::NotSeen };
        let (decision, predicted_bytes) = said.unwrap_or((silence, None));
        let made = setup.sizes.map(|sizes| sizes.reservation_bytes);
        let oversize = setup.judgement.as_ref().is_some_and(|found| found.verdict == Verdict::Oversize);
        let mismatch = match decision {
            GuardVerdict::Passed => oversize,
            GuardVerdict::WouldDeny | GuardVerdict::Exempt | GuardVerdict::Unjudged => {
                predicted_bytes.zip(made).is_some_and(|(predicted, made)| predicted != made)
            }
            GuardVerdict::NotSeen => false,
        };
        Some(Prediction { decision, predicted_bytes, mismatch })
    }
}

fn key_of(judged: &GuardDecision) -> Key {
    key(&judged.device, judged.namespace.as_ref(), judged.block_uuid)
}

fn key(device: &str, namespace: Option<&NamespaceId>, block_uuid: Option<Uuid>) -> Key {
    (device.to_owned(), namespace.map(|namespace| namespace.start_address), block_uuid)
}

#[cfg(test)]
mod tests;
