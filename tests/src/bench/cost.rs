//! What a command takes from its start to its end: time and memory.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Cost {
    pub took: Duration,
    /// Peak memory, mapped files included.
    pub peak_bytes: u64,
}

impl Cost {
    pub fn of(command: &mut Command, codes: &[i32]) -> Result<Self> {
        // A child that borrows its parent's memory until it runs the program is charged for that (`exec_mmap`, fs/exec.c): this
        // makes the library fork instead.
        // SAFETY: it does nothing.
        unsafe { command.pre_exec(|| Ok(())) };
        let start = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let (code, peak_bytes) = end_of(child).with_context(|| format!("{command:?}"))?;
        let took = start.elapsed();
        ensure!(code.is_some_and(|code| codes.contains(&code)), "{command:?} ended with {code:?}");
        Ok(Self { took, peak_bytes })
    }

    /// The median of so many runs, by time; its memory is the largest of all.
    pub fn median_of(runs: usize, run: impl Fn() -> Result<Self>) -> Result<Self> {
        let mut costs = (0..runs).map(|_| run()).collect::<Result<Vec<_>>>()?;
        costs.sort_by_key(|cost| cost.took);
        let middle = costs.get(costs.len() / 2).context("nothing was run")?;
        let peak_bytes = costs.iter().map(|cost| cost.peak_bytes).max().unwrap_or_default();
        Ok(Self { took: middle.took, peak_bytes })
    }
}

/// Waits for the child: its exit code, if it ended by itself, and its peak memory.
fn end_of(child: Child) -> Result<(Option<i32>, u64)> {
    let pid = libc::pid_t::try_from(child.id()).context("a pid out of range")?;
    let mut status = 0;
    // SAFETY: a structure of numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both live through the call, and are what it writes to.
    Errno::result(unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) }).context("cannot be waited for")?;
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    // In KiB (getrusage(2)).
    Ok((code, u64::try_from(usage.ru_maxrss).unwrap_or_default() * 1024))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_command_costs_time_and_memory() {
        let cost = Cost::of(Command::new("sh").args(["-c", "exit 3"]), &[0, 3]).unwrap();
        assert!(cost.peak_bytes > 1 << 16 && cost.took > Duration::ZERO, "{cost:?}");
        assert!(Cost::of(Command::new("sh").args(["-c", "exit 4"]), &[0, 3]).is_err());
    }

    #[test]
    fn the_median_of_the_runs() {
        let next = Cell::new(0);
        let cost = Cost::median_of(5, || {
            next.set(next.get() + 7);
            // 7, 4, 1, 8, 5
            Ok(Cost { took: Duration::from_millis(next.get() % 10), peak_bytes: next.get() })
        });
        assert_eq!(cost.unwrap(), Cost { took: Duration::from_millis(5), peak_bytes: 35 });
        assert!(Cost::median_of(0, || anyhow::bail!("never run")).is_err());
    }
}
