//! Handing a record to the agent, or counting that it was lost.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use pfnwatch_common::counter::Counter;
use pfnwatch_common::record::{Attempt, Block, BlockHead, CaptureFlags, Judgement, MemmapRemoval, Notice};

use crate::counters::count;
use crate::kernel::Read;
use crate::maps::RECORDS;
use crate::task;

/// Nanoseconds since boot, suspend included.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes nothing and only reads a clock.
    unsafe { bpf_ktime_get_boot_ns() }
}

#[inline(always)]
pub(crate) fn attempt(attempt: &Attempt) {
    match RECORDS.output::<Attempt>(attempt, 0) {
        Ok(()) => count(Counter::Emitted),
        Err(_) => count(Counter::Lost),
    }
}

#[inline(always)]
pub(crate) fn block(
    head: impl FnOnce(&mut BlockHead) -> Read<()>,
    block: impl FnOnce(&mut [u8]) -> Read<bool>,
) -> Read<()> {
    static EMPTY: BlockHead = BlockHead::EMPTY;
    let Some(mut entry) = RECORDS.reserve::<Block>(0) else {
        count(Counter::Lost);
        return Ok(());
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the entry has room for a whole record, which nobody else sees before it is submitted. The head is written
    // first; the block is bytes, which the kernel fills or clears.
    let (into_head, into_block) = unsafe {
        (&raw mut (*record).head).write(EMPTY);
        (&mut (*record).head, &mut (*record).block)
    };
    match head(into_head).and_then(|()| block(into_block)) {
        Ok(true) => {
            entry.submit(0);
            count(Counter::Emitted);
            Ok(())
        }
        Ok(false) => {
            entry.discard(0);
            Ok(())
        }
        Err(fault) => {
            entry.discard(0);
            Err(fault)
        }
    }
}

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

/// Sends a removal that `fill` completes in place; one with a fault is sent as well, with its FAULT bit.
#[inline(always)]
pub(crate) fn removal(fill: impl FnOnce(&mut MemmapRemoval) -> Read<()>) {
    static EMPTY: MemmapRemoval = MemmapRemoval::EMPTY;
    let Some(mut entry) = RECORDS.reserve::<MemmapRemoval>(0) else {
        count(Counter::Lost);
        return;
    };
    let record = entry.write(EMPTY);
    record.at_ns = now();
    task::describe(&mut record.task);
    if fill(record).is_err() {
        record.seen = record.seen.with(CaptureFlags::FAULT);
    }
    entry.submit(0);
    count(Counter::Emitted);
}

/// Sends a judgement that `fill` completes in place; one with a fault is sent as well, with its FAULT bit.
#[inline(always)]
pub(crate) fn judgement(fill: impl FnOnce(&mut Judgement) -> Read<()>) {
    static EMPTY: Judgement = Judgement::EMPTY;
    let Some(mut entry) = RECORDS.reserve::<Judgement>(0) else {
        count(Counter::Lost);
        return;
    };
    let record = entry.write(EMPTY);
    record.at_ns = now();
    task::describe(&mut record.task);
    if fill(record).is_err() {
        record.seen = record.seen.with(CaptureFlags::FAULT);
    }
    entry.submit(0);
    count(Counter::Emitted);
}
