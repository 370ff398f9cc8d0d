//! Handing a record to the agent, or counting that it was lost.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use pfnwatch_common::counter::Counter;
use pfnwatch_common::record::{Attempt, Block, BlockHead, CaptureFlags, Judgement, MemmapRemoval, Notice, TaskInfo};

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

/// A record of what a task does, which is filled in the ring buffer.
pub(crate) trait TaskRecord: Copy + 'static {
    /// What it is before it is filled: read-only data that the compiler copies, so that all bytes are initialised.
    const EMPTY: &'static Self;

    fn task(&mut self) -> (&mut u64, &mut TaskInfo, &mut CaptureFlags);
}

macro_rules! task_records {
    ($($record:ident),*) => {
        $(impl TaskRecord for $record {
            const EMPTY: &'static Self = &$record::EMPTY;

            #[inline(always)]
            fn task(&mut self) -> (&mut u64, &mut TaskInfo, &mut CaptureFlags) {
                (&mut self.at_ns, &mut self.task, &mut self.seen)
            }
        })*
    };
}

task_records!(Notice, Judgement, MemmapRemoval);

/// Sends a record of the current task that `fill` completes in place; one with a fault is sent as well, with its FAULT bit.
#[inline(always)]
pub(crate) fn record<T: TaskRecord>(fill: impl FnOnce(&mut T) -> Read<()>) {
    let Some(mut entry) = RECORDS.reserve::<T>(0) else {
        count(Counter::Lost);
        return;
    };
    let record = entry.write(*T::EMPTY);
    let (at_ns, task, _) = record.task();
    *at_ns = now();
    task::describe(task);
    if fill(record).is_err() {
        let (_, _, seen) = record.task();
        *seen = seen.with(CaptureFlags::FAULT);
    }
    entry.submit(0);
    count(Counter::Emitted);
}
