//! Where a new namespace would lie in a region of this host, and how large it could be.

use anyhow::{Context as _, bail};

use crate::model::exit::ExitContext;
use crate::model::inventory::{Inventory, Region};
use crate::model::units::Bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FreeRange {
    pub(super) start: u64,
    pub(super) size: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Placement {
    /// First address; only root can read it.
    pub(super) start: Option<u64>,
    /// The requested size, or the largest that is free.
    pub(super) size: u64,
    /// The region's align in bytes, if it has one.
    pub(super) region_align: Option<u64>,
    pub(super) ways: u64,
}

/// Finds the place for `size` bytes, or for the largest free extent, in the region `name`.
pub(super) fn find(inventory: &Inventory, name: &str, size: Option<u64>) -> anyhow::Result<Placement> {
    let Some(region) = inventory.regions.iter().find(|region| region.name == name) else {
        let known: Vec<_> = inventory.regions.iter().map(|region| region.name.as_str()).collect();
        bail!(ExitContext::usage(format!("there is no {name}: this host has {}", list(&known))));
    };
    let largest = largest(region).with_context(|| format!("{name}: how much is free cannot be read"))?;
    let wanted = size.unwrap_or(largest);
    if wanted > largest {
        bail!("{name} has no room for {}: its largest free stretch is {}", Bytes(wanted), Bytes(largest));
    }
    let free = free_ranges(inventory, region);
    let start =
        free.and_then(|free| free.into_iter().find(|stretch| stretch.size >= wanted)).map(|stretch| stretch.start);
    Ok(Placement { start, size: wanted, region_align: region.align.clone().ok(), ways: region.ways() })
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "no regions".to_owned() } else { names.join(", ") }
}

/// As ndctl does: a region without labels is taken whole, others up to their largest free extent.
fn largest(region: &Region) -> Option<u64> {
    if region.is_label_less() {
        return region.size.clone().ok();
    }
    region.max_available_extent.clone().or_else(|_| region.available.clone()).ok()
}

/// The free extents, from the region's start on: the kernel takes the first that suffices (`scan_allocate()` in
/// drivers/nvdimm/namespace_devs.c). `None` if an address is not readable.
fn free_ranges(inventory: &Inventory, region: &Region) -> Option<Vec<FreeRange>> {
    let start = region.resource.clone().ok()?;
    if region.is_label_less() {
        return Some(vec![FreeRange { start, size: region.size.clone().ok()? }]);
    }
    let mut taken = Vec::new();
    for namespace in inventory.namespaces.iter().filter(|namespace| namespace.region == region.name) {
        taken.push(FreeRange { start: namespace.resource.clone().ok()?, size: namespace.size.clone().ok()? });
    }
    taken.sort_unstable_by_key(|stretch| stretch.start);
    let mut free = Vec::new();
    let mut next = start;
    for stretch in taken {
        free.push(FreeRange { start: next, size: stretch.start.saturating_sub(next) });
        next = next.max(stretch.start.saturating_add(stretch.size));
    }
    let end = start.checked_add(region.size.clone().ok()?)?;
    free.push(FreeRange { start: next, size: end.saturating_sub(next) });
    Some(free)
}

#[cfg(test)]
mod tests;
