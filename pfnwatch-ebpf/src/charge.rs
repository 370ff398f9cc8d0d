//! Which load of the programs is in charge, while one takes over from another: the others leave everything alone.
//!
//! A guard that is pinned goes on without an agent; the next agent attaches its own programs beside it, over the same maps,
//! and then hands the charge over in one step. The kernel runs the older guard first: a creation for which the older is no
//! longer in charge meets the newer in charge. Where the step falls between the two, the older leaves a note for the newer,
//! so that each creation is judged by one of them.

use pfnwatch_common::guard::OVERLAP;

use crate::{
    globals,
    maps::{GUARD_IN_CHARGE, JUDGED},
    task,
};

/// Whether this load is in charge.
#[inline(always)]
pub(crate) fn is_mine() -> bool {
    in_charge() & !OVERLAP == globals::guard_id()
}

/// Whether this guard is to judge what the thread is about to do.
#[inline(always)]
pub(crate) fn is_mine_to_judge() -> bool {
    let in_charge = in_charge();
    if in_charge & OVERLAP != 0 && is_judged_by_another() {
        return false;
    }
    in_charge & !OVERLAP == globals::guard_id()
}

/// Whether the other guard has left a note for this thread, which is then used up.
#[inline(always)]
fn is_judged_by_another() -> bool {
    let thread = task::thread_id();
    let Some(by) = JUDGED.get_ptr(thread) else { return false };
    // SAFETY: the entry is this thread's own, and memory of a removed entry outlives the program (RCU).
    let another = unsafe { *by } != globals::guard_id();
    let _ = JUDGED.remove(thread);
    another
}

/// This guard has judged, and lets pass: the newer one comes next. After a refusal it does not, and a note would lie there
/// until the thread tries again.
#[inline(always)]
pub(crate) fn has_let_pass() {
    if in_charge() & OVERLAP != 0 {
        // Without room for the note a creation may be judged twice: it is still judged.
        let _ = JUDGED.insert(task::thread_id(), globals::guard_id(), 0);
    }
}

#[inline(always)]
fn in_charge() -> u64 {
    // SAFETY: the pointer is to the map's value, and a word is read whole.
    GUARD_IN_CHARGE.get_ptr(0).map_or(0, |id| unsafe { core::ptr::read_volatile(id) })
}
