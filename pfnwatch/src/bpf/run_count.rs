//! How often a program has run, by the kernel's own statistics.

use std::os::fd::OwnedFd;

use anyhow::Context as _;
use aya::sys::{Stats, enable_stats};

use super::attach::Links;

/// The kernel counts for as long as what this gives lives.
///
/// # Errors
/// The kernel keeps no such statistics, or does not let us.
pub fn enable() -> anyhow::Result<OwnedFd> {
    enable_stats(Stats::RunTime).context("the kernel's statistics of programs cannot be turned on")
}

impl Links {
    /// How often a program ran while counting was on.
    ///
    /// # Errors
    /// There is no such program in the kernel.
    pub fn run_count(&self, program: &str) -> anyhow::Result<u64> {
        let program = self.ebpf.program(program).with_context(|| format!("the object has no program {program}"))?;
        Ok(program.info().context("the program is not in the kernel")?.run_count())
    }
}
