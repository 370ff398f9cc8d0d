//! What is lost of a memmap in DRAM that is removed, and whether free memory confirms it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use pfnwatch_common::Map;
use uuid::Uuid;

use super::memmap::device::is_memmap_on_memory;
use super::memmap::{MappedNamespace, dram_bytes, struct_pages, unreturned_bytes};
use crate::model::device::{AddressRange, AssessedDevice, MemoryHotplug};
use crate::model::event::{Body, Event, MemmapNotReturned, NamespaceId};
use crate::model::facts::{KernelParameters, NamespaceMode};
use crate::model::inventory::AttributeError;
use crate::model::memmap_return::{MemmapEvidence, MemmapRemoval, MemoryUse};

/// What the agent knows to own device memory.
#[derive(Debug, Default)]
pub struct MemoryOwners {
    pub namespaces: NamespaceIndex,
    pub devices: DeviceIndex,
}

/// A range of a device.
#[derive(Clone, Debug)]
struct DeviceRange {
    device: String,
    range: AddressRange,
    /// Where its memmap is as system RAM.
    memmap_on_memory: Option<bool>,
}

/// The ranges of the devices that no namespace owns.
#[derive(Debug, Default)]
pub struct DeviceIndex {
    ranges: Vec<DeviceRange>,
    /// This kernel never puts a memmap on the memory that it adds.
    is_never_on_memory: bool,
}

impl DeviceIndex {
    #[must_use]
    pub fn of(devices: &[AssessedDevice], hotplug: &MemoryHotplug, host: &KernelParameters) -> Self {
        let ranges = |AssessedDevice { device, .. }: &AssessedDevice| {
            let memmap_on_memory = is_memmap_on_memory(device, hotplug, host);
            let range = |range| DeviceRange { device: device.name.clone(), range, memmap_on_memory };
            device.ranges.clone().unwrap_or_default().into_iter().map(range).collect::<Vec<_>>()
        };
        let is_never_on_memory = matches!(hotplug.memmap_on_memory, Ok(false) | Err(AttributeError::Absent));
        Self { ranges: devices.iter().flat_map(ranges).collect(), is_never_on_memory }
    }

    fn around(&self, start: u64, size: u64) -> Option<&DeviceRange> {
        self.ranges.iter().find(|it| {
            let end = it.range.start.saturating_add(it.range.size);
            it.range.start <= start && start.checked_add(size).is_some_and(|last| last <= end)
        })
    }
}

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

    /// The namespace with this uuid.
    #[must_use]
    pub fn with_uuid(&self, uuid: Uuid) -> Option<&NamespaceId> {
        self.0.values().find(|it| it.namespace_uuid == Some(uuid))
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
    owners: &MemoryOwners,
    host: &KernelParameters,
    evidence: MemmapEvidence,
    kernel: &str,
) -> Option<MemmapNotReturned> {
    let device = owners.devices.around(removal.start, removal.size);
    let namespace = owners.namespaces.around(removal.start, removal.size).filter(|_| device.is_none());
    // Other memory may have been there at boot, whose memmap the kernel returns.
    let on_media = removal.on_media.or_else(|| match device {
        Some(device) => device.memmap_on_memory,
        None => namespace.filter(|_| owners.devices.is_never_on_memory).map(|_| false),
    });
    if on_media == Some(true) {
        // What parts of sections take from DRAM is made of single pages, which the kernel returns.
        return None;
    }
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
        namespace: namespace.cloned(),
        device: device.map(|it| it.device.clone()),
        range_start_address: removal.start,
        range_size_bytes: removal.size,
        removed_bytes,
        returned_bytes: removed_bytes.saturating_sub(lost_bytes),
        lost_bytes,
        at_most: exact.is_none() || on_media.is_none() || removal.is_inferred,
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
