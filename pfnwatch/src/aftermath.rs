//! Holds what the guard said of a creation against what became of it: whatever it let pass without a word and is oversize
//! all the same was predicted wrongly. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use pfnwatch_common::Map;
use uuid::Uuid;

use crate::{
    assess::Verdict,
    event::{Block, Body, Event, GuardSaid, Judged, Namespace, Prediction, SetUp},
};

/// So many creations may be between their judgement and the end of their bind. Each has a thread of its own.
const MOST: usize = 1024;

/// What tells one creation from all others that are in the air.
type Key = (String, Option<u64>, Option<Uuid>);

/// Follows the guard's judgements until the set-up that they were about.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// Since when, after the boot, a guard has judged by the thresholds that are in force.
    judging: Option<Duration>,
    said: BTreeMap<Key, (GuardSaid, Option<u64>)>,
}

impl Aftermath {
    /// Whether a guard is attached and armed from now on, `since_boot`: only then does silence mean that it found no fault.
    pub fn attached(&mut self, judging: bool, since_boot: Duration) {
        self.judging = judging.then(|| self.judging.unwrap_or(since_boot));
    }

    /// There are other thresholds from now on: by them nothing can be said of what was let pass before, which may be told later.
    pub fn thresholds_changed(&mut self, since_boot: Duration) {
        self.judging = self.judging.map(|_| since_boot);
    }

    /// Learns from the guard's events, and puts [`SetUp::guard`] on a set-up that made a block with map=dev. It asks for
    /// the verdict, so that the event has to be judged before. The host was `booted` then.
    pub fn follow(&mut self, event: &mut Event, booted: SystemTime) {
        let ended = event.time.0.duration_since(booted).unwrap_or_default();
        match &mut event.body {
            Body::Denied(judged) => {
                self.said.remove(&key_of(judged));
            }
            Body::WouldDeny(judged) => self.note(judged, GuardSaid::WouldDeny),
            Body::Exempt(judged) => self.note(judged, GuardSaid::Exempt),
            Body::Unjudged(judged) => self.note(judged, GuardSaid::Unjudged),
            Body::SetUp(setup) => setup.guard = self.look_back(setup, ended),
            _ => {}
        }
    }

    fn note(&mut self, judged: &Judged, said: GuardSaid) {
        if self.said.len() >= MOST {
            self.said.pop_first();
        }
        self.said.insert(key_of(judged), (said, judged.reservation_bytes));
    }

    fn look_back(&mut self, setup: &SetUp, ended: Duration) -> Option<Prediction> {
        let said = self.said.remove(&key(&setup.attempt.device, setup.namespace.as_ref(), setup.block_uuid));
        if setup.block != Block::Made || setup.map != Some(Map::Dev) {
            return None;
        }
        let began = ended.saturating_sub(Duration::from_micros(setup.attempt.duration_us));
        let was_judged = self.judging.is_some_and(|since| began >= since);
        let silence = if was_judged { GuardSaid::Passed } else { GuardSaid::NotSeen };
        let (judged, predicted_bytes) = said.unwrap_or((silence, None));
        let made = setup.sizes.map(|sizes| sizes.reservation_bytes);
        let oversize = setup.judgement.as_ref().is_some_and(|found| found.verdict == Verdict::Oversize);
        let surprise = match judged {
            GuardSaid::Passed => oversize,
            GuardSaid::WouldDeny | GuardSaid::Exempt | GuardSaid::Unjudged => {
                predicted_bytes.zip(made).is_some_and(|(predicted, made)| predicted != made)
            }
            GuardSaid::NotSeen => false,
        };
        Some(Prediction { judged, predicted_bytes, surprise })
    }
}

fn key_of(judged: &Judged) -> Key {
    key(&judged.device, judged.namespace.as_ref(), judged.block_uuid)
}

fn key(device: &str, namespace: Option<&Namespace>, block_uuid: Option<Uuid>) -> Key {
    (device.to_owned(), namespace.map(|namespace| namespace.start_address), block_uuid)
}

#[cfg(test)]
mod tests;
