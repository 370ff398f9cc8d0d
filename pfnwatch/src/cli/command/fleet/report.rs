//! The report as programs read it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use crate::cli::fleet::{Fleet, FleetTotals, Host, HostProblem, Release, Truncated};
use crate::model::event::Time;

/// The whole document.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::cli::command) struct FleetReport {
    /// When it was made.
    time: Time,
    /// A kernel made something cost more than it did, or one release costs more than another.
    regressed: bool,
    /// Sums over the hosts that were counted.
    pub(super) totals: FleetTotals,
    /// Hosts by the guard's mode; `unknown` where no agent tells it.
    pub(super) modes: BTreeMap<String, u64>,
    /// The dearest first.
    pub(super) releases: Vec<Release>,
    /// The worst first.
    pub(super) worst: Vec<Host>,
    /// Hosts whose agent cannot observe.
    pub(super) blind: Truncated<String>,
    /// Hosts where enforce was asked for and is not effective.
    pub(super) not_effective: Truncated<String>,
    /// What is missing from the sums.
    pub(super) not_counted: Truncated<HostProblem>,
    /// What Prometheus had to say of its answers.
    pub(super) warnings: Truncated<String>,
}

impl FleetReport {
    pub(super) fn of(fleet: &Fleet) -> Self {
        Self {
            time: Time(SystemTime::now()),
            regressed: fleet.regressed(),
            totals: *fleet.totals(),
            modes: fleet.modes().clone(),
            releases: fleet.releases(),
            worst: fleet.worst().to_vec(),
            blind: fleet.blind().clone(),
            not_effective: fleet.not_effective().clone(),
            not_counted: fleet.uncounted().clone(),
            warnings: fleet.warnings().clone(),
        }
    }

    pub(super) const fn is_incomplete(&self) -> bool {
        self.not_counted.count > 0 || self.warnings.count > 0 || self.totals.sums.unknown_namespaces > 0
    }

    /// Why the sums may lack hosts. A namespace without a verdict is no such reason: its host was counted.
    pub(super) fn short(&self) -> Option<String> {
        let (missing, warnings) = (self.not_counted.count, self.warnings.count);
        match (self.totals.hosts, missing, warnings) {
            (0, 0, 0) => Some("no host is known, so that the sums say nothing".to_owned()),
            (_, 0, 0) => None,
            (_, _, 0) => Some(format!("the sums are short: {missing} of the hosts or files could not be counted")),
            (_, _, _) => Some(format!(
                "the sums may be short: {missing} of the hosts or files could not be counted, and {warnings} warnings came"
            )),
        }
    }

    pub(super) fn shortcomings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.totals.sums.unknown_namespaces > 0 {
            lines.push(format!(
                "UNKNOWN {} namespaces: what they reserve is in no sum",
                self.totals.sums.unknown_namespaces
            ));
        }
        for HostProblem { place, problem } in &self.not_counted.first {
            lines.push(format!("NOT COUNTED {place}: {problem}"));
        }
        lines.extend(more("NOT COUNTED", &self.not_counted));
        lines.extend(self.warnings.first.iter().map(|warning| format!("WARNING {warning}")));
        lines.extend(more("WARNING", &self.warnings));
        lines
    }

    pub(super) fn csv(&self) -> anyhow::Result<String> {
        let mut lines = csv::Writer::from_writer(Vec::new());
        for release in &self.releases {
            lines.serialize(release)?;
        }
        Ok(String::from_utf8(lines.into_inner()?)?)
    }
}

/// Text for the entries beyond those that are named.
pub(super) fn more<T>(word: &str, named: &Truncated<T>) -> Option<String> {
    let shown = u64::try_from(named.first.len()).unwrap_or(u64::MAX);
    let rest = named.count.saturating_sub(shown);
    (rest > 0).then(|| format!("{word} and {rest} more"))
}
