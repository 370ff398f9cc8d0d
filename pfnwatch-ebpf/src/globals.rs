//! What the agent tells the programs when it loads them: read-only from then on.

use pfnwatch_common::layout::{FieldOffset, Layout};

/// Where the members of kernel structures lie.
#[unsafe(no_mangle)]
static LAYOUT: Layout = Layout::UNRESOLVED;

#[unsafe(no_mangle)]
static DEBUG: u8 = 0;

#[unsafe(no_mangle)]
static READER: u32 = 0;

/// Whether the end of an attempt is seen, so that its record can wait for it.
#[unsafe(no_mangle)]
static BIND_SEEN: u8 = 0;

#[unsafe(no_mangle)]
static GUARD_ID: u64 = 0;

/// The offset that `pick` names. A volatile read: the compiler sees another value than the agent puts there.
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
