//! The firing alerts, and their changes. Pure.

use crate::model::control::FiringAlertStatus;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Findings;
use crate::model::alert::{Alert, AlertName};

/// How long an event without an end fires an alert.
const RECENT_WINDOW: Duration = Duration::from_secs(15 * 60);

/// How long after the start of an observation namespaces may still appear, as at a boot.
const SETTLING: Duration = Duration::from_secs(120);

/// The events without an end, with their alerts.
const MOMENTS: [(&str, AlertName); 3] =
    [("lost", AlertName::RecordsLost), ("decode_error", AlertName::RecordsLost), ("denied", AlertName::CreationDenied)];

#[derive(Debug, Default)]
pub struct RecentEvents {
    counts: BTreeMap<&'static str, u64>,
    recent: VecDeque<(Duration, AlertName, u64)>,
    observed_for: Duration,
    observing_since: Option<Duration>,
}

impl RecentEvents {
    /// Records the counts of events since the agent started, `uptime` ago by a monotonic clock.
    pub fn note(&mut self, events: &BTreeMap<&'static str, u64>, uptime: Duration) {
        for (kind, name) in MOMENTS {
            let total = events.get(kind).copied().unwrap_or(0);
            let before = self.counts.insert(kind, total).unwrap_or(0);
            if total > before {
                self.recent.push_back((uptime, name, total - before));
            }
        }
        while self.recent.front().is_some_and(|(at, ..)| uptime.saturating_sub(*at) >= RECENT_WINDOW) {
            self.recent.pop_front();
        }
    }

    /// Records whether the agent observes, by the same clock.
    pub fn observing(&mut self, observing: bool, uptime: Duration) {
        self.observing_since = if observing { self.observing_since.or(Some(uptime)) } else { None };
        self.observed_for = self.observing_since.map_or(Duration::ZERO, |since| uptime.saturating_sub(since));
    }

    /// Whether a missing namespace will not appear any more.
    pub(super) fn is_settled(&self) -> bool {
        self.observed_for >= SETTLING
    }

    /// How often it happened; `None` if it did not.
    #[must_use]
    pub fn count(&self, name: AlertName) -> Option<u64> {
        let of_name = self.recent.iter().filter(|(_, it, _)| *it == name);
        Some(of_name.map(|(.., count)| count).sum()).filter(|count| *count > 0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiringAlert {
    pub alert: Alert,
    pub since: SystemTime,
    /// The receivers that have it, or have a message waiting.
    pub sent_to: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertChange {
    pub fingerprint: String,
    /// The alert, with its start.
    pub firing: FiringAlert,
    /// When it ended; `None` while it fires.
    pub ended: Option<SystemTime>,
    /// The receivers that do not have it yet.
    pub receivers: Vec<String>,
}

#[derive(Debug, Default)]
pub struct FiringAlerts {
    alerts: BTreeMap<String, FiringAlert>,
}

impl FiringAlerts {
    /// Restores the alerts that fired when the previous agent ended, unless they are already known.
    pub fn adopt(&mut self, stood: impl Iterator<Item = FiringAlert>) {
        for stood in stood {
            self.alerts.entry(stood.alert.fingerprint()).or_insert(stood);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &FiringAlert)> {
        self.alerts.iter()
    }

    /// Compares the findings with the firing alerts, and returns the changes for each of the `receivers`.
    pub fn follow(&mut self, findings: &Findings, receivers: &[String], now: SystemTime) -> Vec<AlertChange> {
        let found: BTreeMap<String, &Alert> =
            findings.firing.iter().map(|alert| (alert.fingerprint(), alert)).collect();
        let mut changes = self.ended(findings, &found, receivers, now);
        for (fingerprint, alert) in found {
            let begun = FiringAlert { alert: alert.clone(), since: now, sent_to: BTreeSet::new() };
            let begins = !self.alerts.contains_key(&fingerprint);
            let stood = self.alerts.entry(fingerprint.clone()).or_insert(begun);
            // The labels cannot have changed; the annotations may have other numbers by now.
            stood.alert.annotations.clone_from(&alert.annotations);
            let untold: Vec<String> = receivers.iter().filter(|name| !stood.sent_to.contains(*name)).cloned().collect();
            if begins || !untold.is_empty() {
                stood.sent_to.extend(untold.iter().cloned());
                changes.push(AlertChange { fingerprint, firing: stood.clone(), ended: None, receivers: untold });
            }
        }
        changes
    }

    /// Firing alerts that are not in the findings although they could be evaluated.
    fn ended(
        &mut self,
        findings: &Findings,
        found: &BTreeMap<String, &Alert>,
        receivers: &[String],
        now: SystemTime,
    ) -> Vec<AlertChange> {
        let is_over = |fingerprint: &String, stood: &mut FiringAlert| {
            !found.contains_key(fingerprint) && !findings.cannot_judge(&stood.alert)
        };
        let over = self.alerts.extract_if(.., is_over);
        over.map(|(fingerprint, stood)| {
            // A clock that was set back must not make it end before it began.
            let ended = Some(now.max(stood.since));
            let receivers = receivers.iter().filter(|name| stood.sent_to.contains(*name)).cloned().collect();
            AlertChange { fingerprint, firing: stood, ended, receivers }
        })
        .collect()
    }
}

impl FiringAlertStatus {
    #[must_use]
    pub fn new(fingerprint: &str, stood: &FiringAlert) -> Self {
        let since = humantime::format_rfc3339_seconds(stood.since).to_string();
        Self { fingerprint: fingerprint.to_owned(), since, alert: stood.alert.clone() }
    }
}

#[cfg(test)]
mod tests;
