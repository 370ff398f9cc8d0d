//! The clocks: the wall clock of events, the clock of the kernel's records, and timers. The agent is given them.

use std::io;
use std::task::{self, Poll};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use nix::time::{ClockId, clock_gettime};

use crate::model::event::{Body, Event, Time};
use crate::os::interval::TimerFdInterval;

/// How long ago it was, suspend included: the clock of the programs' records.
pub fn since_boot() -> anyhow::Result<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).context("the clock since boot cannot be read")
}

/// The time, and timers.
pub trait Clock {
    fn wall(&self) -> SystemTime;

    /// The time since boot, suspend included.
    fn since_boot(&self) -> Duration;

    /// A timer, the first tick after one period. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The kernel has no timer.
    fn every(&self, period: Duration) -> io::Result<Box<dyn Interval>>;
}

/// A timer that ticks again and again. Missed ticks are merged into one.
pub trait Interval {
    /// Cancellation-safe.
    fn poll_tick(&mut self, context: &mut task::Context<'_>) -> Poll<io::Result<()>>;
}

/// A timer for one moment.
pub struct Alarm {
    /// The time since boot.
    at: Duration,
    /// `None` if the kernel has none, as it may be if memory or file descriptors are short: the alarm then never goes off.
    timer: Option<Box<dyn Interval>>,
}

impl Alarm {
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn new(clock: &dyn Clock, at: Duration) -> Self {
        // A timer of no time at all would be none.
        let period = at.saturating_sub(clock.since_boot()).max(Duration::from_nanos(1));
        Self { at, timer: clock.every(period).ok() }
    }

    /// The moment, as the time since boot.
    #[must_use]
    pub const fn at(&self) -> Duration {
        self.at
    }

    /// Waits for the alarm, if there is one, and removes it. Cancellation-safe.
    pub fn poll(alarm: &mut Option<Self>, context: &mut task::Context<'_>) -> Poll<()> {
        let Some(timer) = alarm.as_mut().and_then(|alarm| alarm.timer.as_mut()) else { return Poll::Pending };
        // A timer that fails has nothing more to report.
        let ticked = timer.poll_tick(context).map(drop);
        if ticked.is_ready() {
            *alarm = None;
        }
        ticked
    }
}

/// The kernel's clocks.
pub struct SystemClock(());

impl SystemClock {
    /// # Errors
    /// The clock since boot cannot be read. If it can be read once, it always can (CLOCK_BOOTTIME since Linux 2.6.39).
    pub fn new() -> anyhow::Result<Self> {
        since_boot().map(|_| Self(()))
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn since_boot(&self) -> Duration {
        since_boot().unwrap_or_default()
    }

    fn every(&self, period: Duration) -> io::Result<Box<dyn Interval>> {
        Ok(Box::new(TimerFdInterval::every(period)?))
    }
}

impl Event {
    /// An event of the agent's own, now.
    pub fn now(body: Body) -> Self {
        Self::at(Time(SystemTime::now()), body)
    }
}
