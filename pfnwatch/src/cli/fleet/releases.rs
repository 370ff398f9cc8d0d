//! Kernel releases, held against one another.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Host;

const TIB: u64 = 1 << 40;

/// The hosts that run one kernel release. Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "FleetRelease"))]
pub struct Release {
    /// The release; empty for hosts that do not tell.
    pub kernel: String,
    /// What it reserves for each page: the most that one of its hosts says.
    pub max_struct_page_size_bytes: Option<u64>,
    /// What a namespace of 1 TiB costs under it more than under the cheapest release of this fleet.
    pub extra_bytes_per_tib: Option<u64>,
    /// How many hosts run it.
    pub hosts: u64,
    /// How many of them have something oversize.
    pub oversize_hosts: u64,
    /// Their namespaces.
    pub namespaces: u64,
    /// What those have lost, whichever kernel made them.
    pub excess_bytes: u64,
    #[serde(skip)]
    page_size_bytes: Option<u64>,
}

impl Release {
    fn add(&mut self, host: &Host) {
        self.max_struct_page_size_bytes = self.max_struct_page_size_bytes.max(host.max_struct_page_size_bytes);
        self.page_size_bytes = self.page_size_bytes.or(host.page_size_bytes);
        self.hosts += 1;
        self.oversize_hosts += u64::from(host.oversize);
        self.namespaces = self.namespaces.saturating_add(host.sums.namespaces);
        self.excess_bytes = self.excess_bytes.saturating_add(host.sums.excess_bytes);
    }

    /// The excess over `least`, for all pages of a TiB.
    fn extra(&self, least: u64) -> Option<u64> {
        let more = self.max_struct_page_size_bytes?.saturating_sub(least);
        TIB.checked_div(self.page_size_bytes?)?.checked_mul(more)
    }
}

#[derive(Debug, Default)]
pub(super) struct Releases(BTreeMap<String, Release>);

impl Releases {
    pub(super) fn add(&mut self, host: &Host) {
        let kernel = host.kernel.clone().unwrap_or_default();
        let release = self.0.entry(kernel.clone()).or_insert_with(|| Release { kernel, ..Release::default() });
        release.add(host);
    }

    /// All of them, the dearest first.
    pub(super) fn compared(&self) -> Vec<Release> {
        let least = self.0.values().filter_map(|it| it.max_struct_page_size_bytes).min();
        let compare = |release: &Release| {
            let extra_bytes_per_tib = least.and_then(|least| release.extra(least));
            Release { extra_bytes_per_tib, ..release.clone() }
        };
        let mut all: Vec<Release> = self.0.values().map(compare).collect();
        all.sort_by_key(|it| std::cmp::Reverse((it.extra_bytes_per_tib, it.excess_bytes, it.hosts)));
        all
    }
}
