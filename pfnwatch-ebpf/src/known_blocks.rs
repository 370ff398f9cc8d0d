//! What is known of the info blocks on namespaces: a bind that finds a valid one is no creation.
//!
//! A namespace without an entry is unseen, and the guard allows what happens on it. So whatever is missed here, a probe or
//! room for an entry, ends in a creation that is allowed and counted.

use pfnwatch_common::counter::Counter;
use pfnwatch_common::guard::{BlockLookup, KnownBlock, NamespacePlace};

use crate::counters::count;
use crate::kernel::{Namespace, NdPfn, Read};
use crate::maps::KNOWN_BLOCKS;
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
    if let Some(namespace) = nd_pfn.namespace()? {
        let _ = KNOWN_BLOCKS.remove(namespace.place()?);
    }
    Ok(())
}

#[inline(always)]
fn set(place: &NamespacePlace, block: &KnownBlock) {
    if KNOWN_BLOCKS.insert(place, block, 0).is_err() {
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
        Some(block) => unsafe { &*block }.lookup(uuid.words()),
        None => BlockLookup::MaybeKnown,
    }
}
