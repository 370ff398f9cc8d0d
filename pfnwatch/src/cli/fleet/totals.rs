//! The sums over all hosts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::host::CapacityTotals;
use super::releases::Releases;
use super::{Host, HostProblem, Release};

/// How many entries are named; all are counted.
const NAMED: usize = 100;

/// Sums over the hosts that were counted. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "FleetTotals"))]
pub struct FleetTotals {
    /// How many hosts.
    pub hosts: u64,
    /// How many of them have something oversize.
    pub oversize_hosts: u64,
    /// On how many something costs more than it did, or than it should, by a kernel's doing.
    pub regressed_hosts: u64,
    /// What their namespaces come to.
    #[serde(flatten)]
    pub sums: CapacityTotals,
}

impl FleetTotals {
    fn add(&mut self, host: &Host) {
        self.hosts += 1;
        self.oversize_hosts += u64::from(host.oversize);
        self.regressed_hosts += u64::from(host.regressed);
        self.sums.add(&host.sums);
    }
}

/// A number of things, of which the first are named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Named{T}"))]
pub struct Truncated<T> {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub first: Vec<T>,
}

impl<T> Default for Truncated<T> {
    fn default() -> Self {
        Self { count: 0, first: Vec::new() }
    }
}

impl<T> Truncated<T> {
    fn add(&mut self, thing: T) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(thing);
        }
    }
}

#[derive(Debug)]
pub struct Fleet {
    totals: FleetTotals,
    releases: Releases,
    modes: BTreeMap<String, u64>,
    worst: Vec<Host>,
    keep_worst: usize,
    blind: Truncated<String>,
    not_effective: Truncated<String>,
    not_counted: Truncated<HostProblem>,
    warnings: Truncated<String>,
}

impl Fleet {
    /// An empty fleet that names so many of the worst hosts.
    #[must_use]
    pub fn keeping(worst: usize) -> Self {
        Self {
            totals: FleetTotals::default(),
            releases: Releases::default(),
            modes: BTreeMap::new(),
            worst: Vec::new(),
            keep_worst: worst,
            blind: Truncated::default(),
            not_effective: Truncated::default(),
            not_counted: Truncated::default(),
            warnings: Truncated::default(),
        }
    }

    pub fn add(&mut self, host: Host) {
        self.totals.add(&host);
        self.releases.add(&host);
        *self.modes.entry(host.mode.clone().unwrap_or_else(|| "unknown".to_owned())).or_default() += 1;
        if host.ready == Some(false) {
            self.blind.add(host.host.clone());
        }
        if host.mode.as_deref() == Some("enforce") && host.guard_effective == Some(false) {
            self.not_effective.add(host.host.clone());
        }
        if host.sums.excess_bytes > 0 {
            let worse = |it: &Host| (it.sums.excess_bytes, &host.host) > (host.sums.excess_bytes, &it.host);
            let place = self.worst.partition_point(worse);
            self.worst.insert(place, host);
            self.worst.truncate(self.keep_worst);
        }
    }

    pub fn not_counted(&mut self, problem: HostProblem) {
        self.not_counted.add(problem);
    }

    pub fn warning(&mut self, warning: String) {
        if !self.warnings.first.contains(&warning) {
            self.warnings.add(warning);
        }
    }

    #[must_use]
    pub const fn totals(&self) -> &FleetTotals {
        &self.totals
    }

    #[must_use]
    pub fn releases(&self) -> Vec<Release> {
        self.releases.compared()
    }

    #[must_use]
    pub const fn modes(&self) -> &BTreeMap<String, u64> {
        &self.modes
    }

    #[must_use]
    pub fn worst(&self) -> &[Host] {
        &self.worst
    }

    #[must_use]
    pub const fn blind(&self) -> &Truncated<String> {
        &self.blind
    }

    /// Hosts with mode enforce that is not effective.
    #[must_use]
    pub const fn not_effective(&self) -> &Truncated<String> {
        &self.not_effective
    }

    #[must_use]
    pub const fn uncounted(&self) -> &Truncated<HostProblem> {
        &self.not_counted
    }

    #[must_use]
    pub const fn warnings(&self) -> &Truncated<String> {
        &self.warnings
    }

    /// Whether a host's capacity has regressed, or one kernel release costs more than another.
    #[must_use]
    pub fn regressed(&self) -> bool {
        self.totals.regressed_hosts > 0 || self.releases().iter().any(|it| it.extra_bytes_per_tib.unwrap_or(0) > 0)
    }
}

#[cfg(test)]
mod tests;
