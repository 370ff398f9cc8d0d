//! The clocks: the wall clock of events, and the clock of the kernel's records.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use nix::time::{ClockId, clock_gettime};

use crate::model::event::{Body, Event, Time};

/// How long ago it was, suspend included: the clock of the programs' records.
pub fn since_boot() -> anyhow::Result<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).context("the clock since boot cannot be read")
}

impl Event {
    /// An event of the agent's own, now.
    pub fn now(body: Body) -> Self {
        Self::at(Time(SystemTime::now()), body)
    }
}
