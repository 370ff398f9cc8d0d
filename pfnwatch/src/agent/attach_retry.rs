//! When to try again to attach the programs: after one second, then after twice the time, up to the tick's period.

use std::task::{self, Poll};
use std::time::Duration;

use super::TICK_INTERVAL;
use crate::os::clock::{Alarm, Clock};

const FIRST_DELAY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct AttachRetry {
    /// Of the last retry; zero if there was none.
    delay: Duration,
    /// Without a timer the agent's tick retries.
    next: Option<Alarm>,
}

impl AttachRetry {
    pub(super) fn schedule(&mut self, clock: &dyn Clock) {
        self.delay = (self.delay * 2).clamp(FIRST_DELAY, TICK_INTERVAL);
        self.next = Some(Alarm::new(clock, clock.since_boot() + self.delay));
    }

    /// Another attempt is made now. The delay after it is longer.
    pub(super) fn cancel(&mut self) {
        self.next = None;
    }

    /// How long until the next retry; `None` if none is scheduled.
    pub(super) fn remaining(&self, clock: &dyn Clock) -> Option<Duration> {
        self.next.as_ref().map(|next| next.at().saturating_sub(clock.since_boot()))
    }

    /// Waits for the next retry. Cancellation-safe.
    pub(super) fn poll_due(&mut self, context: &mut task::Context<'_>) -> Poll<()> {
        Alarm::poll(&mut self.next, context)
    }
}
