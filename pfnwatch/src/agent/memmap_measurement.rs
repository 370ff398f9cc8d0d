//! A comparison of free memory before and after memmaps are removed: a few seconds later, and only if nothing else moved.

use std::io;
use std::task::{self, Poll};
use std::time::Duration;

use crate::analysis::memmap_return::confirms_loss;
use crate::model::memmap_return::MemoryUse;
use crate::os::clock::{Clock, Interval};

/// The kernel adds its counters up once a second.
const SETTLED: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Measurement {
    before: Option<MemoryUse>,
    /// What was removed and lost since then, in bytes.
    removed: u64,
    lost: u64,
    /// Ends when no memmap has come or gone for [`SETTLED`].
    timer: Option<Box<dyn Interval>>,
}

impl Measurement {
    /// A memmap was removed; sizes in bytes.
    pub(super) fn add(&mut self, removed: u64, lost: u64, clock: &dyn Clock) {
        self.removed = self.removed.saturating_add(removed);
        self.lost = self.lost.saturating_add(lost);
        self.timer = clock.every(SETTLED).ok();
    }

    /// Something else took memory, or gave it back: nothing can be compared over this moment.
    pub(super) fn disturb(&mut self, clock: &dyn Clock) {
        *self = Self { timer: clock.every(SETTLED).ok(), ..Self::default() };
    }

    /// Waits until memory has settled. Cancellation-safe.
    pub(super) fn poll_settled(&mut self, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.timer.as_mut().map_or(Poll::Pending, |timer| timer.poll_tick(context))
    }

    /// Memory has settled. Returns whether the loss is confirmed.
    pub(super) fn on_settled(&mut self, now: Option<MemoryUse>) -> bool {
        let before = self.before.as_ref().zip(now.as_ref());
        let confirmed = before.is_some_and(|(before, now)| confirms_loss(before, now, self.removed, self.lost));
        *self = Self { before: now, ..Self::default() };
        confirmed
    }

    /// While nothing happens: what the next removal is compared with.
    pub(super) fn refresh(&mut self, read: impl FnOnce() -> Option<MemoryUse>) {
        if self.timer.is_none() {
            self.before = read();
        }
    }
}
