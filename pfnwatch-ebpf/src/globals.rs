//! What the agent tells the programs when it loads them: read-only from then on.

use pfnwatch_common::layout::{FieldOffset, Layout};

/// Where the members of kernel structures lie.
#[unsafe(no_mangle)]
static LAYOUT: Layout = Layout::UNRESOLVED;

/// Whether the programs write debug messages.
#[unsafe(no_mangle)]
static DEBUG: u8 = 0;

/// The process for whose reads info blocks are handed over.
#[unsafe(no_mangle)]
static READER: u32 = 0;

/// Whether the end of an attempt is seen, so that its record can wait for it.
#[unsafe(no_mangle)]
static BIND_SEEN: u8 = 0;

/// This load's own number among guards that share maps.
#[unsafe(no_mangle)]
static GUARD_ID: u64 = 0;

/// The offset that `pick` names. Read anew each time: what the compiler sees here is not what the agent puts there.
#[inline(always)]
pub(crate) fn offset(pick: fn(&'static Layout) -> &'static FieldOffset) -> FieldOffset {
    // SAFETY: a reference to a static is valid and aligned.
    unsafe { core::ptr::read_volatile(pick(&LAYOUT)) }
}

#[inline(always)]
pub(crate) fn debug() -> bool {
    // SAFETY: a reference to a static is valid and aligned.
    unsafe { core::ptr::read_volatile(&raw const DEBUG) != 0 }
}

/// The process that reads the inventory; 0 for none.
#[inline(always)]
pub(crate) fn reader() -> u32 {
    // SAFETY: a reference to a static is valid and aligned.
    unsafe { core::ptr::read_volatile(&raw const READER) }
}

#[inline(always)]
pub(crate) fn bind_seen() -> bool {
    // SAFETY: a reference to a static is valid and aligned.
    unsafe { core::ptr::read_volatile(&raw const BIND_SEEN) != 0 }
}

#[inline(always)]
pub(crate) fn guard_id() -> u64 {
    // SAFETY: a reference to a static is valid and aligned.
    unsafe { core::ptr::read_volatile(&raw const GUARD_ID) }
}
