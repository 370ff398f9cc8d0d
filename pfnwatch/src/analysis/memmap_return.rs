//! What is lost of a memmap in DRAM that is removed, and whether free memory confirms it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use pfnwatch_common::Map;

use super::memmap::{MappedNamespace, dram_bytes, struct_pages, unreturned_bytes};
use crate::model::event::{Body, Event, MemmapNotReturned, NamespaceId};
use crate::model::facts::{KernelParameters, NamespaceMode};
use crate::model::memmap_return::{MemmapEvidence, MemmapRemoval, MemoryUse};

/// The namespaces that are known, by the physical address of their first byte. No two overlap.
#[derive(Debug, Default)]
pub struct NamespaceIndex(BTreeMap<u64, NamespaceId>);

impl NamespaceIndex {
    /// Learns of a namespace from an event.
    pub fn follow(&mut self, event: &Event) {
        match &event.body {
            Body::SetUp(setup) => setup.namespace.iter().for_each(|it| self.insert(it.clone())),
            Body::Probe(probe) => probe.namespace.iter().for_each(|it| self.insert(it.clone())),
            _ => {}
        }
    }

    /// It replaces what lay at its place.
    pub fn insert(&mut self, namespace: NamespaceId) {
        let Some(end) = namespace.start_address.checked_add(namespace.size_bytes) else { return };
        self.0.retain(|start, it| *start >= end || start.saturating_add(it.size_bytes) <= namespace.start_address);
        self.0.insert(namespace.start_address, namespace);
    }

    /// The namespace that a range lies in.
    fn around(&self, start: u64, size: u64) -> Option<&NamespaceId> {
        let (_, namespace) = self.0.range(..=start).next_back()?;
        let end = namespace.start_address.checked_add(namespace.size_bytes)?;
        (start.checked_add(size)? <= end).then_some(namespace)
    }
}

/// The event of a removal on a kernel that does not return memmaps; `None` if nothing is lost.
#[must_use]
pub fn not_returned(
    removal: &MemmapRemoval,
    namespaces: &NamespaceIndex,
    host: &KernelParameters,
    evidence: MemmapEvidence,
    kernel: &str,
) -> Option<MemmapNotReturned> {
    // Whether it is deduplicated depends on its compound pages alone, which only devdax has.
    let mapped = MappedNamespace {
        mode: NamespaceMode::Devdax,
        map: Some(Map::Mem),
        start: Some(removal.start),
        size: removal.size,
        align: removal.align,
    };
    let exact = dram_bytes(&mapped, host).zip(unreturned_bytes(&mapped, host));
    let (removed_bytes, lost_bytes) = exact.or_else(|| struct_pages(removal.size, host).map(|most| (most, most)))?;
    (lost_bytes > 0).then(|| MemmapNotReturned {
        namespace: namespaces.around(removal.start, removal.size).cloned(),
        range_start_address: removal.start,
        range_size_bytes: removal.size,
        removed_bytes,
        returned_bytes: removed_bytes.saturating_sub(lost_bytes),
        lost_bytes,
        at_most: exact.is_none(),
        evidence,
        kernel: kernel.to_owned(),
        by: removal.by.clone(),
    })
}

/// Whether free memory shows that what was expected of removals is lost. `removed` and `lost` are sums in bytes.
///
/// All other uses together may have moved by an eighth of the loss, and so may the result. A kernel that returns the memmaps
/// has the whole loss more free.
#[must_use]
pub fn confirms_loss(before: &MemoryUse, after: &MemoryUse, removed: u64, lost: u64) -> bool {
    let tolerance = lost / 8;
    let moved =
        before.others.iter().map(|(name, bytes)| after.others.get(name).map_or(u64::MAX, |now| now.abs_diff(*bytes)));
    let expected = before.free.saturating_add(removed.saturating_sub(lost));
    lost > 0
        && before.others.len() == after.others.len()
        && moved.fold(0, u64::saturating_add) <= tolerance
        && after.free.abs_diff(expected) <= tolerance
}
