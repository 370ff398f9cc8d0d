//! The clock of the kernel's records.

use std::time::Duration;

use anyhow::Context as _;
use nix::time::{ClockId, clock_gettime};

/// How long ago it was, suspend included: the clock of the programs' records.
pub fn since_boot() -> anyhow::Result<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).context("the clock since boot cannot be read")
}
