//! What was received from the kernel's side, and what it has lost.

use std::time::Duration;

use pfnwatch_common::counter::Counter;

use crate::bpf::counters::CounterTotals;
use crate::model::event::{LostRecords, RecordTotals};

/// How often the counters are read while records come.
const LOSS_REPORT_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Losses {
    totals: RecordTotals,
    /// The counters of the present programs up to which losses are reported.
    reported: CounterTotals,
    /// Since boot.
    read_at: Duration,
}

impl Losses {
    /// Other programs are attached, with these counters: what an earlier agent has reported is not reported again.
    pub(super) const fn on_attached(&mut self, counters: CounterTotals) {
        self.reported = counters;
    }

    /// Counts a record that was received.
    pub(super) const fn count_record(&mut self, is_decoded: bool) {
        self.totals.received += 1;
        if !is_decoded {
            self.totals.decode_errors += 1;
        }
    }

    /// What was received and lost since the agent started.
    pub(super) const fn totals(&self) -> RecordTotals {
        self.totals
    }

    /// Whether the counters were read a moment ago. A look-up in a map holds this CPU's probes off (they are skipped where a
    /// task that is probed comes in between, `trace_call_bpf` in kernel/trace/bpf_trace.c), so that a burst should not cause many.
    pub(super) fn are_recent(&self, since_boot: Duration) -> bool {
        !self.read_at.is_zero() && since_boot.saturating_sub(self.read_at) < LOSS_REPORT_INTERVAL
    }

    /// The counters are about to be read.
    pub(super) const fn on_read(&mut self, since_boot: Duration) {
        self.read_at = since_boot;
    }

    /// What was lost since this was called the last time, if anything.
    pub(super) fn take(&mut self, now: CounterTotals) -> Option<LostRecords> {
        let since = |counter| now.get(counter).saturating_sub(self.reported.get(counter));
        let missed = LostRecords {
            lost: since(Counter::Lost),
            read_faults: since(Counter::ReadFault),
            table_full: since(Counter::TableFull),
            unpaired: since(Counter::Unpaired),
            guard_faults: since(Counter::GuardFault),
            blocks_missed: since(Counter::BlockMissed),
            returns_missed: since(Counter::ReturnMissed),
            swept: since(Counter::Swept),
        };
        self.reported = now;
        self.totals.missed.add(missed);
        (!missed.is_nothing()).then_some(missed)
    }
}
