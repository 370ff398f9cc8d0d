//! How often a program has run, by the kernel's own statistics.

use std::os::fd::OwnedFd;

use anyhow::Context as _;
use aya::sys::{Stats, enable_stats};

use super::attach::Links;
use crate::model::view::ProgramRuns;

/// The kernel counts as long as the returned descriptor is open.
pub fn enable() -> anyhow::Result<OwnedFd> {
    enable_stats(Stats::RunTime).context("the kernel's statistics of programs cannot be turned on")
}

impl Links {
    pub fn run_count(&self, program: &str) -> anyhow::Result<u64> {
        self.runs(program).map(|runs| runs.count)
    }

    pub fn runs(&self, name: &str) -> anyhow::Result<ProgramRuns> {
        let program = self.ebpf.program(name).with_context(|| format!("the object has no program {name}"))?;
        let info = program.info().context("the program is not in the kernel")?;
        let time_ns = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
        Ok(ProgramRuns { program: name.to_owned(), count: info.run_count(), time_ns })
    }
}
