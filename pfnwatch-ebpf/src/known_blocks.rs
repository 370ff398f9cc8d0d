//! The valid info blocks that were met: a bind that finds one is no creation.

use pfnwatch_common::{
    counter::Counter,
    guard::{UNKNOWN_BLOCK, missed_slot},
};

use crate::{
    counters::count,
    kernel::{NdPfn, Read},
    maps::{KNOWN_BLOCKS, MISSED_BLOCKS},
    uuid::Uuid,
};

/// [`UNSEEN`] as a map has it: aligned, as bytes in read-only data need not be.
static ANY_BLOCK: Uuid = Uuid::of_words([u64::from_ne_bytes([UNKNOWN_BLOCK[0]; 8]); 2]);

pub(crate) enum BlockLookup {
    Known,
    /// It may be known: there was no room for one like it.
    MaybeKnown,
    /// It was never seen.
    Unknown,
}

#[inline(always)]
pub(crate) fn remember(nd_pfn: NdPfn) -> Read<()> {
    let (Some(namespace), Some(uuid)) = (nd_pfn.namespace()?, nd_pfn.uuid_value()?) else { return Ok(()) };
    let (start, _) = namespace.range()?;
    if KNOWN_BLOCKS.insert(start, uuid, 0).is_err() {
        count(Counter::BlockMissed);
        if let Some(missed) = MISSED_BLOCKS.get_ptr_mut(0) {
            // SAFETY: the pointer is to the map's value, and `missed_slot` lies within it.
            unsafe { (&raw mut (*missed).0).cast::<u8>().add(missed_slot(uuid.as_bytes())).write(1) };
        }
    }
    Ok(())
}

/// A part of a set-up of this `nd_pfn` was missed: its namespace may hold any block.
#[inline(always)]
pub(crate) fn mark_unknown(nd_pfn: NdPfn) -> Read<()> {
    let Some(namespace) = nd_pfn.namespace()? else { return Ok(()) };
    let (start, _) = namespace.range()?;
    #[expect(clippy::needless_borrows_for_generic_args, reason = "by value it would be written by a call of memset")]
    let inserted = KNOWN_BLOCKS.insert(start, &ANY_BLOCK, 0);
    if inserted.is_err() {
        count(Counter::BlockMissed);
    }
    Ok(())
}

/// Removes the block of the namespace at this address: it is enabled raw, and may be overwritten.
#[inline(always)]
pub(crate) fn forget(start: u64) {
    let _ = KNOWN_BLOCKS.remove(start);
}

#[inline(always)]
pub(crate) fn lookup(start: u64, uuid: &Uuid) -> BlockLookup {
    if let Some(known) = KNOWN_BLOCKS.get_ptr(start) {
        // SAFETY: memory of a replaced entry outlives the program (RCU).
        let known = unsafe { &*known };
        if uuid.is(known) {
            return BlockLookup::Known;
        }
        if known.is(&ANY_BLOCK) {
            return BlockLookup::MaybeKnown;
        }
    }
    let Some(missed) = MISSED_BLOCKS.get_ptr(0) else { return BlockLookup::MaybeKnown };
    // SAFETY: the pointer is to the map's value, and `missed_slot` lies within it.
    let slot = unsafe { (&raw const (*missed).0).cast::<u8>().add(missed_slot(uuid.as_bytes())).read() };
    if slot == 0 { BlockLookup::Unknown } else { BlockLookup::MaybeKnown }
}
