//! Counting what must not go unseen.

use pfnwatch_common::counter::Counter;

use crate::maps::COUNTERS;

/// Adds one on this CPU.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the pointer is to this CPU's value; a program of ours that comes in between costs one count at most.
        unsafe { *value += 1 };
    }
}
