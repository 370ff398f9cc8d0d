//! Handing a record to the agent, or counting that it was lost.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use pfnwatch_common::{
    counter::Counter,
    record::{Attempt, Notice},
};

use crate::{counters::count, maps::RECORDS};

/// Nanoseconds since boot, suspend included.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes nothing and only reads a clock.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Sends an attempt as it stands in its map.
#[inline(always)]
pub(crate) fn attempt(attempt: &Attempt) {
    match RECORDS.output::<Attempt>(attempt, 0) {
        Ok(()) => count(Counter::Emitted),
        Err(_) => count(Counter::Lost),
    }
}

/// Sends a notice that `fill` completes in place.
#[inline(always)]
pub(crate) fn notice(fill: impl FnOnce(&mut Notice)) {
    static EMPTY: Notice = Notice::EMPTY;
    let Some(mut entry) = RECORDS.reserve::<Notice>(0) else {
        count(Counter::Lost);
        return;
    };
    // The template is copied by the compiler from read-only data: all bytes are initialised from here on.
    fill(entry.write(EMPTY));
    entry.submit(0);
    count(Counter::Emitted);
}
