//! Counting what must not go unseen.

use pfnwatch_common::counter::Counter;

use crate::maps::COUNTERS;

#[inline(always)]
pub(crate) fn count(counter: Counter) {
    count_one(counter as u64);
}

/// A function that the verifier knows of by its types: it goes through this once, and not in each of the ways that lead to
/// something that is counted. Such a function takes numbers, and gives one.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_one(counter: u64) -> u64 {
    if let Some(value) = COUNTERS.get_ptr_mut((counter & 0xffff_ffff) as u32) {
        // SAFETY: the pointer is to this CPU's value; a program of ours that comes in between costs one count at most.
        unsafe { *value += 1 };
    }
    0
}
