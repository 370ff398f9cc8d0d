//! What stands, and what of it is news. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{Alert, Findings, Name};

/// How long something is told that happened in a moment.
const RECENT: Duration = Duration::from_secs(15 * 60);

/// How long after the beginning of an observation namespaces may still come up, as at a boot.
const SETTLING: Duration = Duration::from_secs(120);

/// The events that are told for a while, and as what.
const MOMENTS: [(&str, Name); 3] =
    [("lost", Name::RecordsLost), ("undecoded", Name::RecordsLost), ("denied", Name::CreationDenied)];

/// What happened within the last minutes.
#[derive(Debug, Default)]
pub struct Recently {
    totals: BTreeMap<&'static str, u64>,
    happened: VecDeque<(Duration, Name, u64)>,
    observed_for: Duration,
    observing_since: Option<Duration>,
}

impl Recently {
    /// Takes note of how many events of each kind there were since the agent started, `uptime` ago by a clock that is not
    /// set.
    pub fn note(&mut self, events: &BTreeMap<&'static str, u64>, uptime: Duration) {
        for (kind, name) in MOMENTS {
            let total = events.get(kind).copied().unwrap_or(0);
            let before = self.totals.insert(kind, total).unwrap_or(0);
            if total > before {
                self.happened.push_back((uptime, name, total - before));
            }
        }
        while self.happened.front().is_some_and(|(at, ..)| uptime.saturating_sub(*at) >= RECENT) {
            self.happened.pop_front();
        }
    }

    /// Takes note of whether the agent observes, by the same clock.
    pub fn observing(&mut self, observing: bool, uptime: Duration) {
        self.observing_since = if observing { self.observing_since.or(Some(uptime)) } else { None };
        self.observed_for = self.observing_since.map_or(Duration::ZERO, |since| uptime.saturating_sub(since));
    }

    /// Whether a namespace that is not there will not come up any more.
    pub(super) fn is_settled(&self) -> bool {
        self.observed_for >= SETTLING
    }

    /// How often it happened; none where it did not.
    #[must_use]
    pub fn count(&self, name: Name) -> Option<u64> {
        let of_name = self.happened.iter().filter(|(_, it, _)| *it == name);
        Some(of_name.map(|(.., count)| count).sum()).filter(|count| *count > 0)
    }
}

/// An alert that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
    /// The alert, as it was last seen.
    pub alert: Alert,
    /// Since when it stands.
    pub since: SystemTime,
    /// The receivers that were told, or have a message waiting.
    pub told: BTreeSet<String>,
}

/// An alert begins or ends, and who is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is known by.
    pub fingerprint: String,
    /// The alert, and since when it stood.
    pub stood: Stood,
    /// When it ended; none where it stands.
    pub ended: Option<SystemTime>,
    /// The receivers that do not know it yet.
    pub receivers: Vec<String>,
}

/// All that stands, by the fingerprint.
#[derive(Debug, Default)]
pub struct Standing {
    stood: BTreeMap<String, Stood>,
}

impl Standing {
    /// Goes on from what stood when an agent before this one ended, as far as that is not known by now.
    pub fn adopt(&mut self, stood: impl Iterator<Item = Stood>) {
        for stood in stood {
            self.stood.entry(stood.alert.fingerprint()).or_insert(stood);
        }
    }

    /// What stands, with its fingerprint.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Stood)> {
        self.stood.iter()
    }

    /// Takes up what was found, and says what of it is news, and for which of the `receivers`.
    pub fn follow(&mut self, findings: &Findings, receivers: &[String], now: SystemTime) -> Vec<Change> {
        let found: BTreeMap<String, &Alert> =
            findings.standing.iter().map(|alert| (alert.fingerprint(), alert)).collect();
        let mut changes = self.ended(findings, &found, receivers, now);
        for (fingerprint, alert) in found {
            let begun = Stood { alert: alert.clone(), since: now, told: BTreeSet::new() };
            let begins = !self.stood.contains_key(&fingerprint);
            let stood = self.stood.entry(fingerprint.clone()).or_insert(begun);
            // Of the labels nothing can have changed; what is said of it may be about other bytes by now.
            stood.alert.annotations.clone_from(&alert.annotations);
            let untold: Vec<String> = receivers.iter().filter(|name| !stood.told.contains(*name)).cloned().collect();
            if begins || !untold.is_empty() {
                stood.told.extend(untold.iter().cloned());
                changes.push(Change { fingerprint, stood: stood.clone(), ended: None, receivers: untold });
            }
        }
        changes
    }

    /// What stood and is not found any more, where it would have been.
    fn ended(
        &mut self,
        findings: &Findings,
        found: &BTreeMap<String, &Alert>,
        receivers: &[String],
        now: SystemTime,
    ) -> Vec<Change> {
        let is_over = |fingerprint: &String, stood: &mut Stood| {
            !found.contains_key(fingerprint) && !findings.cannot_judge(&stood.alert)
        };
        let over = self.stood.extract_if(.., is_over);
        over.map(|(fingerprint, stood)| {
            // A clock that was set back must not make it end before it began.
            let ended = Some(now.max(stood.since));
            let receivers = receivers.iter().filter(|name| stood.told.contains(*name)).cloned().collect();
            Change { fingerprint, stood, ended, receivers }
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
