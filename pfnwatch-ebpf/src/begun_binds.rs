//! Binds whose beginning was seen. A bind that ends without one is a bind of which kprobes saw nothing: they are switched off, while
//! exit programs still run.

use crate::kernel::Device;
use crate::maps::BEGUN_BINDS;
use crate::task;

#[inline(always)]
pub(crate) fn note(device: Device) {
    let _ = BEGUN_BINDS.insert(device.address(), task::thread_id(), 0);
}

/// Whether this thread was seen beginning the bind that now ends. The note is good for one end.
#[inline(always)]
pub(crate) fn take(device: Device) -> bool {
    let thread = task::thread_id();
    // SAFETY: memory of a replaced entry outlives the program (RCU).
    let began = BEGUN_BINDS.get_ptr(device.address()).is_some_and(|noted| unsafe { *noted } == thread);
    if began {
        let _ = BEGUN_BINDS.remove(device.address());
    }
    began
}
