//! One host, as far as a fleet's owner asks for it.

use serde::Serialize;

/// What namespaces come to, of one host or of all. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CapacityTotals {
    /// How many namespaces.
    pub namespaces: u64,
    /// How many of them nothing certain is known of: what they reserve is in no sum.
    pub unknown_namespaces: u64,
    /// Sum of their sizes.
    pub size_bytes: u64,
    /// Sum of what can be stored.
    pub usable_bytes: u64,
    /// Sum of the reservations.
    pub reservation_bytes: u64,
    /// Sum of the ideal reservations.
    pub ideal_bytes: u64,
    /// Sum of what is reserved more than that.
    pub excess_bytes: u64,
    /// What `plan` would give back: the excess of those namespaces alone that are oversize.
    pub plan_bytes: u64,
}

impl CapacityTotals {
    /// Saturating.
    pub(super) fn add(&mut self, more: &Self) {
        for (sum, more) in [
            (&mut self.namespaces, more.namespaces),
            (&mut self.unknown_namespaces, more.unknown_namespaces),
            (&mut self.size_bytes, more.size_bytes),
            (&mut self.usable_bytes, more.usable_bytes),
            (&mut self.reservation_bytes, more.reservation_bytes),
            (&mut self.ideal_bytes, more.ideal_bytes),
            (&mut self.excess_bytes, more.excess_bytes),
            (&mut self.plan_bytes, more.plan_bytes),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What a host reports. Sizes are in bytes; what it does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "FleetHost"))]
pub struct Host {
    /// Its name: the host's own in a file of `scan`, the instance in Prometheus.
    pub host: String,
    /// The cluster that the scrape configuration puts it in.
    pub cluster: Option<String>,
    /// The running kernel's release.
    pub kernel: Option<String>,
    /// What that kernel reserves for each page.
    pub max_struct_page_size_bytes: Option<u64>,
    /// Bytes in a page there.
    #[serde(skip)]
    pub page_size_bytes: Option<u64>,
    /// What its namespaces come to.
    #[serde(flatten)]
    pub sums: CapacityTotals,
    /// A namespace, or all of them together, are oversize.
    pub oversize: bool,
    /// A kernel made something cost more than it did, or than it should.
    pub regressed: bool,
    /// The guard's mode; no agent has to run for a file of `scan`.
    pub mode: Option<String>,
    /// Whether the guard was seen to work.
    pub guard_effective: Option<bool>,
    /// Whether the agent observes, or waits for persistent memory to come.
    pub ready: Option<bool>,
}

/// Something that was not counted, or not in full: no sum is short without it being said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "NotCounted"))]
pub struct HostProblem {
    /// The file, the host, or the query.
    #[serde(rename = "where")]
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

impl HostProblem {
    pub fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}
