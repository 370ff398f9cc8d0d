//! Each creation is judged by one guard, also while two are attached.
//!
//! A guard that holds on is taken over by another beside it, over the same maps, so that both judge alike; a kernel that may
//! skip a program has two of them all the time. Whichever the
//! kernel runs first judges, and records what it allows, which the other finds. The order does not matter: the
//! newest program runs first today (`hlist_add_head` in `__bpf_trampoline_link_prog`, kernel/bpf/trampoline.c). Nor is
//! there a moment at which one stops and the other starts, which a thread could be in the middle of.

use crate::maps::PASSED_NODES;
use crate::task;

/// Whether a guard has allowed the node that this thread is about to make. It is another guard's note: the hook is
/// called once for each node.
#[inline(always)]
pub(super) fn has_passed(node: u64) -> bool {
    // SAFETY: the entry is this thread's own, and memory of a replaced entry outlives the program (RCU).
    PASSED_NODES.get_ptr(task::thread_id()).is_some_and(|judged| unsafe { *judged } == node)
}

/// Another guard may be called next. After a refusal none is.
#[inline(always)]
pub(super) fn note_passed(node: u64) {
    // Without the note another judges again: nothing slips through.
    let _ = PASSED_NODES.insert(task::thread_id(), node, 0);
}
