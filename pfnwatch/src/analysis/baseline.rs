//! Capacity regressions: what memmaps cost now, compared with what they cost before.
//!
//! Three things can cost more than before: each namespace that this host creates from now on (`host_regression`), if its kernel reserves more
//! for each page than the kernel of an earlier boot; one namespace (`CostHistory`) that such a kernel created again; and a device without a
//! namespace (`DeviceHistory`) whose memory a later kernel uses in another way. All are pure; `agent/baseline_watch` feeds them and saves
//! the results.

mod device;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use pfnwatch_common::reservation::REFERENCE_STRUCT_PAGE;
use pfnwatch_common::{Geometry, KernelQuirks, Map, reservation};
use uuid::Uuid;

pub use self::device::DeviceHistory;
use super::memmap::{MappedNamespace, unreturned_bytes};
use crate::model::capacity::{
    AcceptError, Acceptance, Cost, CostRecord, NamespaceKey, ObservedKernel, Regression, RegressionSubject,
};
use crate::model::facts::{KernelParameters, NamespaceMode};
use crate::model::kernel::COMPAT_ALIGN;

/// The limit of namespaces that are tracked. Those that are gone are evicted first, then those whose baseline is the oldest;
/// a record with a regression is never evicted.
const MAX_RECORDS: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegressionChange {
    Unchanged,
    /// The record must be saved; nothing is reported.
    Recorded,
    /// It costs more than before, or more than when that was last reported.
    Began(Box<Regression>),
    Ended(Box<Regression>),
}

#[derive(Debug, Default)]
pub struct CostHistory {
    records: Vec<CostRecord>,
    evicted: u64,
    /// The evicted namespaces that [`Self::take_evicted`] has not returned yet.
    unreported: Vec<NamespaceKey>,
}

impl CostHistory {
    #[must_use]
    pub fn new(records: Vec<CostRecord>) -> Self {
        let mut history = Self { records, ..Self::default() };
        history.evict_surplus();
        history
    }

    /// Records what a namespace costs. Returns the record, and what has changed.
    pub fn observe(&mut self, namespace: NamespaceKey, cost: Cost) -> (CostRecord, RegressionChange) {
        let place = self.position(&namespace);
        let known = place.and_then(|place| self.records.get(place));
        if let Some(known) = known.filter(|it| it.namespace == namespace && it.costs(&cost)) {
            return (known.clone(), RegressionChange::Unchanged);
        }
        let before = known.and_then(CostRecord::regression);
        let (baseline, accepted) = match place.map(|place| self.records.swap_remove(place)) {
            Some(known) if known.baseline.excess_bytes < cost.excess_bytes => (known.baseline, known.accepted),
            // Of two that cost the same the latest is the baseline.
            Some(known) if known.baseline.excess_bytes == cost.excess_bytes => (cost.clone(), known.accepted),
            _ => (cost.clone(), None),
        };
        let record = CostRecord { namespace, last: Some(cost), baseline, accepted };
        let change = change(before, record.regression());
        self.records.push(record.clone());
        self.evict_surplus();
        (record, change)
    }

    /// A namespace is destroyed: its regression ends, and the next namespace at its place is compared with it.
    pub fn destroyed(&mut self, uuid: Uuid) -> Vec<(CostRecord, RegressionChange)> {
        self.remove_where(|namespace| namespace.namespace_uuid == Some(uuid))
    }

    /// A namespace has no memmap of its own any more.
    pub fn without_memmap(&mut self, namespace: &NamespaceKey) -> Vec<(CostRecord, RegressionChange)> {
        let room = (namespace.start_address, namespace.size_bytes);
        self.remove_where(|it| (it.start_address, it.size_bytes) == room)
    }

    /// Removes all namespaces but these, which have a memmap on the media, by first address and size: the end of the
    /// others was not observed.
    pub fn retain(&mut self, there: &BTreeSet<(u64, u64)>) -> Vec<(CostRecord, RegressionChange)> {
        self.remove_where(|namespace| !there.contains(&(namespace.start_address, namespace.size_bytes)))
    }

    /// A regressed namespace by its name, its namespace uuid or its first address (`0x…`), as it would be after its
    /// cost is accepted.
    pub fn accept_preview(&self, which: &str, acceptance: Acceptance) -> Result<(CostRecord, Regression), AcceptError> {
        let is_it = |record: &CostRecord| {
            let namespace = &record.namespace;
            namespace.namespace == which
                || namespace.namespace_uuid.is_some_and(|uuid| uuid.to_string().eq_ignore_ascii_case(which))
                || format!("{:#x}", namespace.start_address) == which
        };
        let regressed = |record: &CostRecord| Some((record.accepted(acceptance.clone()), record.regression()?));
        let mut found = self.records.iter().filter(|it| is_it(it)).filter_map(regressed);
        match (found.next(), found.next()) {
            (Some(found), None) => Ok(found),
            (Some(_), Some(_)) => Err(AcceptError::Ambiguous(which.to_owned())),
            (None, _) => Err(AcceptError::NoRegression(which.to_owned())),
        }
    }

    pub fn replace(&mut self, record: CostRecord) {
        if let Some(known) = self.records.iter_mut().find(|known| known.namespace == record.namespace) {
            *known = record;
        }
    }

    fn remove_where(&mut self, is_gone: impl Fn(&NamespaceKey) -> bool) -> Vec<(CostRecord, RegressionChange)> {
        let end = |record: &mut CostRecord| {
            let before = record.regression();
            record.last = None;
            (record.clone(), change(before, None))
        };
        let gone = |record: &&mut CostRecord| record.last.is_some() && is_gone(&record.namespace);
        self.records.iter_mut().filter(gone).map(end).collect()
    }

    pub fn records(&self) -> impl Iterator<Item = &CostRecord> {
        self.records.iter()
    }

    pub fn regressions(&self) -> impl Iterator<Item = Regression> {
        self.records.iter().filter_map(CostRecord::regression)
    }

    /// The record of the same namespace: by its uuid, else the one at the same place. A reconfiguration by ndctl
    /// assigns another uuid. One of another size is another namespace.
    fn position(&self, namespace: &NamespaceKey) -> Option<usize> {
        let by_uuid = |record: &CostRecord| {
            namespace.namespace_uuid.is_some() && record.namespace.namespace_uuid == namespace.namespace_uuid
        };
        let by_start = |record: &CostRecord| record.namespace.start_address == namespace.start_address;
        let of_size = |record: &CostRecord| record.namespace.size_bytes == namespace.size_bytes;
        let find = |is: &dyn Fn(&CostRecord) -> bool| self.records.iter().position(|it| is(it) && of_size(it));
        find(&by_uuid).or_else(|| find(&by_start))
    }

    /// A new record has no regression: if all others have one, it is the one that is evicted.
    fn evict_surplus(&mut self) {
        while self.records.len() > MAX_RECORDS {
            let evictable = self.records.iter().enumerate().filter(|(_, it)| !it.has_regression());
            let oldest = evictable.min_by_key(|(_, it)| (it.last.is_some(), &it.baseline.seen)).map(|(place, _)| place);
            let Some(place) = oldest else { return };
            self.evicted += 1;
            self.unreported.push(self.records.swap_remove(place).namespace);
        }
    }

    /// The namespaces that were evicted since the last call.
    pub fn take_evicted(&mut self) -> Vec<NamespaceKey> {
        std::mem::take(&mut self.unreported)
    }

    /// How many namespaces were evicted so far.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}

pub fn change(before: Option<Regression>, after: Option<Regression>) -> RegressionChange {
    match (before, after) {
        (Some(before), None) => RegressionChange::Ended(Box::new(before)),
        (None, Some(after)) => RegressionChange::Began(Box::new(after)),
        (Some(before), Some(after)) if after.lost_bytes() > before.lost_bytes() => {
            RegressionChange::Began(Box::new(after))
        }
        _ => RegressionChange::Recorded,
    }
}

/// The namespace that people think in: 1 TiB with map=dev and ndctl's usual align, at the start of a region.
const REFERENCE_SIZE: u64 = 1 << 40;
const REFERENCE_ALIGN: u64 = 2 << 20;
const REFERENCE_START: u64 = 4 << 30;

/// What a namespace of 1 TiB costs under a kernel; `None` if unknown.
#[must_use]
pub fn reference_cost(kernel: &ObservedKernel) -> Option<Cost> {
    let max = kernel.max_struct_page_size?;
    let geometry = Geometry {
        start: REFERENCE_START,
        size: REFERENCE_SIZE,
        align: REFERENCE_ALIGN,
        map: Map::Dev,
        page_size: kernel.page_size,
        compat: COMPAT_ALIGN,
    };
    let reserved = |bytes| reservation(&geometry, bytes, KernelQuirks::default()).ok().map(|it| it.dataoff);
    let reservation_bytes = reserved(max)?;
    Some(Cost {
        kernel: kernel.release.clone(),
        seen: kernel.seen.clone(),
        reservation_bytes,
        excess_bytes: reservation_bytes.saturating_sub(reserved(REFERENCE_STRUCT_PAGE)?),
        max_struct_page_size_bytes: Some(max),
    })
}

/// The kernel that others are compared with, and its cost: the one with the lowest cost, and of several the latest.
#[must_use]
pub fn reference<'a>(kernels: impl Iterator<Item = &'a ObservedKernel>) -> Option<(&'a ObservedKernel, Cost)> {
    let costs =
        kernels.filter(|kernel| !kernel.superseded).filter_map(|kernel| Some((kernel, reference_cost(kernel)?)));
    costs.min_by(|(_, a), (_, b)| a.reservation_bytes.cmp(&b.reservation_bytes).then_with(|| b.seen.cmp(&a.seen)))
}

/// Compares what the running kernel does with removed memmaps in DRAM with the latest of the others that returned them.
#[must_use]
pub fn memmap_regression(now: &ObservedKernel, others: &[ObservedKernel]) -> Option<Regression> {
    if now.memmap_returned != Some(false) {
        return None;
    }
    let returned =
        |other: &&ObservedKernel| other.id != now.id && !other.superseded && other.memmap_returned == Some(true);
    let before = others.iter().filter(returned).max_by(|a, b| a.seen.cmp(&b.seen))?;
    let mapped = MappedNamespace {
        mode: NamespaceMode::Fsdax,
        map: Some(Map::Mem),
        start: Some(REFERENCE_START),
        size: REFERENCE_SIZE,
        align: REFERENCE_ALIGN,
    };
    let host =
        KernelParameters { struct_page: Some(REFERENCE_STRUCT_PAGE), ..KernelParameters::of_page_size(now.page_size) };
    let not_returned_bytes = unreturned_bytes(&mapped, &host)?;
    let subject = RegressionSubject::MemmapReturn { not_returned_bytes };
    Some(Regression { subject, before: reference_cost(before)?, after: reference_cost(now)? })
}

/// Compares the running kernel with the reference among the others.
#[must_use]
pub fn host_regression(now: &ObservedKernel, others: &[ObservedKernel]) -> Option<Regression> {
    let after = reference_cost(now)?;
    let (_, before) = reference(others.iter().filter(|other| other.id != now.id))?;
    (after.reservation_bytes > before.reservation_bytes).then_some(Regression {
        subject: RegressionSubject::Host,
        before,
        after,
    })
}
