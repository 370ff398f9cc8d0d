//! What is known of the info blocks on namespaces: a bind that finds a valid one is no creation.
//!
//! A namespace without an entry is unseen, and the guard allows what happens on it. So whatever is missed here, a probe or
//! room for an entry, ends in a creation that is allowed and counted. What is known of a region's namespaces is good until the
//! region is enabled again: what lies there may be exchanged meanwhile, and its labels may be others.

use pfnwatch_common::counter::Counter;
use pfnwatch_common::guard::{BlockLookup, KnownBlock, NamespacePlace};

use crate::counters::count;
use crate::kernel::{Namespace, NdPfn, Read, Region};
use crate::maps::{KNOWN_BLOCKS, REGION_EPOCHS};
use crate::uuid::Uuid;

/// The namespace of this `nd_pfn` has a valid block with the device's uuid.
#[inline(always)]
pub(crate) fn remember(nd_pfn: NdPfn) -> Read<()> {
    let (Some(namespace), Some(uuid)) = (nd_pfn.namespace()?, nd_pfn.uuid_value()?) else { return Ok(()) };
    set(&namespace.place()?, &KnownBlock::of_uuid(uuid.words()));
    Ok(())
}

/// The namespace has no block, or one that may be overwritten: it is new, or is enabled raw or as sector.
#[inline(always)]
pub(crate) fn forget(namespace: Namespace) -> Read<()> {
    set(&namespace.place()?, &KnownBlock::NONE);
    Ok(())
}

/// The namespace of this `nd_pfn` may hold any block.
#[inline(always)]
pub(crate) fn mark_unseen(nd_pfn: NdPfn) -> Read<()> {
    match nd_pfn.namespace()? {
        Some(namespace) => mark_namespace_unseen(namespace),
        None => Ok(()),
    }
}

/// The namespace may hold any block.
#[inline(always)]
pub(crate) fn mark_namespace_unseen(namespace: Namespace) -> Read<()> {
    let _ = KNOWN_BLOCKS.remove(namespace.place()?);
    Ok(())
}

/// The region is being enabled: its namespaces are about to be found.
#[inline(always)]
pub(crate) fn forget_region(region: Region) -> Read<()> {
    if let Some(epoch) =
        REGION_EPOCHS.get_ptr_mut(NamespacePlace { start: 0, region: region.id()?.into() }.epoch_slot())
    {
        // SAFETY: the pointer is to the map's value, and a word is read and written whole. Of two regions that count in one slot at the
        // same moment one may go uncounted: the number is a new one all the same.
        unsafe { epoch.write_volatile(epoch.read_volatile().wrapping_add(1)) };
    }
    Ok(())
}

#[inline(always)]
fn region_epoch(place: &NamespacePlace) -> u64 {
    // SAFETY: as above. The slot is below the number of entries.
    REGION_EPOCHS.get_ptr(place.epoch_slot()).map_or(0, |epoch| unsafe { epoch.read_volatile() })
}

#[inline(always)]
fn set(place: &NamespacePlace, block: &KnownBlock) {
    if KNOWN_BLOCKS.insert(place, block.found_in(region_epoch(place)), 0).is_err() {
        count(Counter::BlockMissed);
        let _ = KNOWN_BLOCKS.remove(place);
    }
}

/// A bind of a device with this uuid is allowed. If it creates a block, nobody knows what is on the namespace until the end of
/// its set-up is seen.
#[inline(always)]
pub(crate) fn doubt(place: &NamespacePlace, uuid: &Uuid) {
    if matches!(lookup(place, uuid), BlockLookup::Unknown) {
        set_in_doubt(place, 1);
    }
}

/// The set-up of this `nd_pfn` has written nothing: its namespace is what it was before.
#[inline(always)]
pub(crate) fn clear_doubt(nd_pfn: NdPfn) -> Read<()> {
    if let Some(namespace) = nd_pfn.namespace()? {
        set_in_doubt(&namespace.place()?, 0);
    }
    Ok(())
}

#[inline(always)]
fn set_in_doubt(place: &NamespacePlace, in_doubt: u32) {
    if let Some(block) = KNOWN_BLOCKS.get_ptr_mut(place) {
        // SAFETY: the pointer is to a value of the map, whose memory outlives the program (RCU).
        unsafe { (&raw mut (*block).in_doubt).write_volatile(in_doubt) };
    }
}

#[inline(always)]
pub(crate) fn lookup(place: &NamespacePlace, uuid: &Uuid) -> BlockLookup {
    match KNOWN_BLOCKS.get_ptr(place) {
        // SAFETY: memory of a replaced entry outlives the program (RCU).
        Some(block) => unsafe { &*block }.lookup(uuid.words(), region_epoch(place)),
        None => BlockLookup::MaybeKnown,
    }
}
