//! Many hosts at once. What a host reports is added to the fleet's sums as it comes and then let go of: what stays in memory
//! grows with the number of kernel releases, and not with that of hosts.

pub mod files;
pub mod prometheus;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::kernel::known_defects::{DefectId, suspects};

/// What namespaces come to, of one host or of all. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CapacityTotals {
    /// How many namespaces.
    pub namespaces: u64,
    /// Namespaces without a verdict: their reservations are in no sum.
    pub unknown_namespaces: u64,
    /// Sum of their sizes.
    pub size_bytes: u64,
    /// Sum of the usable bytes.
    pub usable_bytes: u64,
    /// Sum of the reservations.
    pub reservation_bytes: u64,
    /// Sum of the ideal reservations.
    pub ideal_bytes: u64,
    /// Sum of the excess.
    pub excess_bytes: u64,
    /// What `plan` would return: the excess of the oversize namespaces alone.
    pub plan_bytes: u64,
    /// DRAM that holds the struct pages of the enabled namespaces, as far as it is known.
    pub memmap_dram_bytes: u64,
    /// Namespaces for which that is unknown.
    pub memmap_dram_unknown: u64,
    /// DRAM of removed memmaps that kernels have not returned since boot.
    pub memmap_not_returned_bytes: u64,
    /// Devices of the dax bus that no namespace owns.
    pub devices: u64,
    /// Sum of their sizes.
    pub device_size_bytes: u64,
    /// Sum of the bytes in use as system RAM.
    pub device_online_bytes: u64,
    /// Sum of the stranded bytes, which do not fill a memory block.
    pub device_stranded_bytes: u64,
    /// DRAM that holds their struct pages, as far as it is known.
    pub device_memmap_dram_bytes: u64,
    /// Devices for which that is unknown.
    pub device_memmap_dram_unknown: u64,
}

impl CapacityTotals {
    /// Saturating.
    fn add(&mut self, more: &Self) {
        for (sum, more) in [
            (&mut self.namespaces, more.namespaces),
            (&mut self.unknown_namespaces, more.unknown_namespaces),
            (&mut self.size_bytes, more.size_bytes),
            (&mut self.usable_bytes, more.usable_bytes),
            (&mut self.reservation_bytes, more.reservation_bytes),
            (&mut self.ideal_bytes, more.ideal_bytes),
            (&mut self.excess_bytes, more.excess_bytes),
            (&mut self.plan_bytes, more.plan_bytes),
            (&mut self.memmap_dram_bytes, more.memmap_dram_bytes),
            (&mut self.memmap_dram_unknown, more.memmap_dram_unknown),
            (&mut self.memmap_not_returned_bytes, more.memmap_not_returned_bytes),
            (&mut self.devices, more.devices),
            (&mut self.device_size_bytes, more.device_size_bytes),
            (&mut self.device_online_bytes, more.device_online_bytes),
            (&mut self.device_stranded_bytes, more.device_stranded_bytes),
            (&mut self.device_memmap_dram_bytes, more.device_memmap_dram_bytes),
            (&mut self.device_memmap_dram_unknown, more.device_memmap_dram_unknown),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What a host reports. Sizes are in bytes; an unknown value is null.
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
    /// `sizeof(struct page)` there.
    pub struct_page_size_bytes: Option<u64>,
    /// Whether that kernel returns a memmap's DRAM when its device is disabled, by its code or by what was observed.
    pub memmap_returned: Option<bool>,
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

/// Something that was not counted, or not in full: every incomplete sum is listed with its reason.
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

const TIB: u64 = 1 << 40;

/// Reports do not have the architecture; most distributions' releases for arm64 name it.
fn may_be_x86_64(release: &str) -> bool {
    !["arm64", "aarch64", "ppc64le", "s390x"].iter().any(|other| release.contains(other))
}

/// The hosts that run one kernel release. Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "FleetRelease"))]
pub struct Release {
    /// The release; empty for hosts that do not report it.
    pub kernel: String,
    /// What it reserves for each page: the largest that one of its hosts reports.
    pub max_struct_page_size_bytes: Option<u64>,
    /// `sizeof(struct page)`: the largest that one of its hosts reports.
    pub struct_page_size_bytes: Option<u64>,
    /// What a namespace of 1 TiB with map=dev reserves under it more than under the cheapest release of this fleet.
    pub extra_bytes_per_tib: Option<u64>,
    /// The same of the DRAM for a memmap that is not deduplicated.
    pub extra_dram_bytes_per_tib: Option<u64>,
    /// Whether it returns a memmap's DRAM when the device is disabled, by the code or by what was observed: false if one of its hosts
    /// reports so.
    pub memmap_returned: Option<bool>,
    /// No host knows, and upstream's kernel of this release does not: a suspicion.
    pub memmap_loss_suspected: bool,
    /// How many hosts run it.
    pub hosts: u64,
    /// How many of them have something oversize.
    pub oversize_hosts: u64,
    /// Their namespaces.
    pub namespaces: u64,
    /// Excess of those namespaces, whichever kernel made them.
    pub excess_bytes: u64,
    /// DRAM that holds the struct pages of these, as far as it is known.
    pub memmap_dram_bytes: u64,
    /// Namespaces for which it is unknown.
    pub memmap_dram_unknown: u64,
    /// DRAM of removed memmaps that was not returned since boot.
    pub memmap_not_returned_bytes: u64,
    #[serde(skip)]
    page_size_bytes: Option<u64>,
}

impl Release {
    /// `None` if it is unknown of a namespace: a sum of only some would read as that of all.
    #[must_use]
    pub fn memmap_dram(&self) -> Option<u64> {
        (self.memmap_dram_unknown == 0).then_some(self.memmap_dram_bytes)
    }

    fn add(&mut self, host: &Host) {
        self.max_struct_page_size_bytes = self.max_struct_page_size_bytes.max(host.max_struct_page_size_bytes);
        self.struct_page_size_bytes = self.struct_page_size_bytes.max(host.struct_page_size_bytes);
        self.page_size_bytes = self.page_size_bytes.or(host.page_size_bytes);
        self.memmap_returned = match (self.memmap_returned, host.memmap_returned) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (before, reported) => reported.or(before),
        };
        self.hosts += 1;
        self.oversize_hosts += u64::from(host.oversize);
        self.namespaces = self.namespaces.saturating_add(host.sums.namespaces);
        self.excess_bytes = self.excess_bytes.saturating_add(host.sums.excess_bytes);
        self.memmap_dram_bytes = self.memmap_dram_bytes.saturating_add(host.sums.memmap_dram_bytes);
        self.memmap_dram_unknown = self.memmap_dram_unknown.saturating_add(host.sums.memmap_dram_unknown);
        self.memmap_not_returned_bytes =
            self.memmap_not_returned_bytes.saturating_add(host.sums.memmap_not_returned_bytes);
    }

    /// `more` bytes for each page of a TiB.
    fn extra(&self, more: u64) -> Option<u64> {
        TIB.checked_div(self.page_size_bytes?)?.checked_mul(more)
    }

    /// Whether it is known to cost more than it should, persistent memory or DRAM.
    #[must_use]
    pub fn is_regressed(&self) -> bool {
        let extra = self.extra_bytes_per_tib.max(self.extra_dram_bytes_per_tib);
        extra.unwrap_or(0) > 0 || self.memmap_returned == Some(false)
    }
}

#[derive(Debug, Default)]
struct Releases(BTreeMap<String, Release>);

impl Releases {
    fn add(&mut self, host: &Host) {
        let kernel = host.kernel.clone().unwrap_or_default();
        let release = self.0.entry(kernel.clone()).or_insert_with(|| Release { kernel, ..Release::default() });
        release.add(host);
    }

    /// All of them, the dearest first.
    fn compared(&self) -> Vec<Release> {
        let least = |size: fn(&Release) -> Option<u64>| self.0.values().filter_map(size).min();
        let least_reserved = least(|it| it.max_struct_page_size_bytes);
        let least_taken = least(|it| it.struct_page_size_bytes);
        let extra =
            |release: &Release, size: Option<u64>, least: Option<u64>| release.extra(size?.saturating_sub(least?));
        let compare = |release: &Release| Release {
            extra_bytes_per_tib: extra(release, release.max_struct_page_size_bytes, least_reserved),
            extra_dram_bytes_per_tib: extra(release, release.struct_page_size_bytes, least_taken),
            memmap_loss_suspected: release.memmap_returned.is_none()
                && suspects(DefectId::MemmapNotReturned, &release.kernel, may_be_x86_64(&release.kernel)),
            ..release.clone()
        };
        let mut all: Vec<Release> = self.0.values().map(compare).collect();
        let cost = |it: &Release| {
            let lost = it.memmap_returned == Some(false);
            (it.extra_bytes_per_tib, it.extra_dram_bytes_per_tib, it.excess_bytes, lost, it.hosts)
        };
        all.sort_by_key(|it| std::cmp::Reverse(cost(it)));
        all
    }
}

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
    /// Hosts on which a kernel made something cost more than before, or than it should.
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

/// A count with the first entries.
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

    /// Whether a host's capacity has regressed, or one kernel release costs more than another, or does not return a memmap's DRAM.
    #[must_use]
    pub fn regressed(&self) -> bool {
        self.totals.regressed_hosts > 0 || self.releases().iter().any(Release::is_regressed)
    }
}

#[cfg(test)]
mod tests;
