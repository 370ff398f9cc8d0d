//! The kernel's own statistics of programs: how often each ran, and for how long.

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::programs::{ProgramInfo, loaded_programs};
use aya::sys::{Stats, enable_stats};

/// The kernel counts as long as this lives. Counting costs time itself: the clock is read twice a run.
pub struct Counting(#[expect(dead_code, reason = "its drop ends the counting")] OwnedFd);

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Runs {
    pub count: u64,
    pub time: Duration,
}

impl Counting {
    pub fn start() -> Result<Self> {
        enable_stats(Stats::RunTime).map(Self).context("the kernel does not count the runs of programs")
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Program {
    Named(&'static str),
    WithId(u32),
}

impl Program {
    fn is(self, program: &ProgramInfo) -> bool {
        match self {
            Self::Named(name) => program.name_as_str() == Some(name),
            Self::WithId(id) => program.id() == id,
        }
    }
}

impl Runs {
    /// Of this program, since it was loaded.
    pub fn of(program: Program) -> Result<Self> {
        let programs = loaded_programs().collect::<Result<Vec<ProgramInfo>, _>>()?;
        let meant: Vec<_> = programs.iter().filter(|loaded| program.is(loaded)).collect();
        ensure!(meant.len() <= 1, "{} programs are {program:?}", meant.len());
        let found = meant.first().with_context(|| format!("no program is {program:?}"))?;
        Ok(Self { count: found.run_count(), time: found.run_time() })
    }

    #[must_use]
    pub fn since(self, then: Self) -> Self {
        Self { count: self.count.saturating_sub(then.count), time: self.time.saturating_sub(then.time) }
    }
}
