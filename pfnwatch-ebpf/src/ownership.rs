//! Which load of the programs reports what happens while one takes over from another: the others are silent.
//!
//! A guard that is pinned goes on without an agent, and so do the probes that feed it. The next agent attaches its own
//! programs beside them, over the same maps, and then hands the charge over in one step. Judging does not go by this: see
//! [`crate::guard`].

use crate::globals;
use crate::maps::ACTIVE_OWNER;

#[inline(always)]
pub(crate) fn is_active() -> bool {
    // SAFETY: the pointer is to the map's value, and a word is read whole.
    let in_charge = ACTIVE_OWNER.get_ptr(0).map_or(0, |id| unsafe { core::ptr::read_volatile(id) });
    in_charge == globals::guard_id()
}
