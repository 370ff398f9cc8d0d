//! The kernel's own statistics of programs: how often each ran, and for how long.

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::programs::{ProgramInfo, loaded_programs};
use aya::sys::{Stats, enable_stats};

/// The kernel counts for as long as this lives. Counting costs time itself: the clock is read twice a run.
pub struct Counting(#[expect(dead_code, reason = "its drop ends the counting")] OwnedFd);

/// What a program did while the kernel counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Runs {
    /// How often it ran.
    pub count: u64,
    /// For how long in all.
    pub time: Duration,
}

impl Counting {
    /// Has the kernel count from now on.
    pub fn start() -> Result<Self> {
        enable_stats(Stats::RunTime).map(Self).context("the kernel does not count the runs of programs")
    }
}

impl Runs {
    /// Of the one program of this name, since it was loaded.
    pub fn of(name: &str) -> Result<Self> {
        let programs = loaded_programs().collect::<Result<Vec<ProgramInfo>, _>>()?;
        let named: Vec<_> = programs.iter().filter(|program| program.name_as_str() == Some(name)).collect();
        ensure!(named.len() <= 1, "{} programs are named {name}", named.len());
        let program = named.first().with_context(|| format!("no program is named {name}"))?;
        Ok(Self { count: program.run_count(), time: program.run_time() })
    }

    /// What was added since then.
    #[must_use]
    pub fn since(self, then: Self) -> Self {
        Self { count: self.count.saturating_sub(then.count), time: self.time.saturating_sub(then.time) }
    }
}
