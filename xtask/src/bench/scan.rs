//! `pfnwatch scan` over made-up hosts, and a shell loop that reads the same attributes and judges nothing.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::bench::cost::Cost;
use serde_json::Value;

use super::{Findings, Row, mib, ms, tree};
use crate::{paths, setup};

pub(super) const MAX_SCAN_OF_1000: Duration = Duration::from_millis(50);

/// Namespaces of a host, runs of ours and of the shell, and the budget for ours.
const HOSTS: [(u32, usize, usize, Option<Duration>); 3] =
    [(10, 30, 10, None), (1_000, 30, 5, Some(MAX_SCAN_OF_1000)), (10_000, 10, 3, None)];

/// `read` is built into every sh: no process is started for a file, which is the shell at its best.
const SHELL: &str = include_str!("scan.sh");

pub(super) fn measure() -> Result<Findings> {
    setup::host_programs(&["strace"])?;
    let mut rows = Vec::new();
    for (namespaces, runs, shell_runs, budget) in HOSTS {
        rows.extend(measure_host(namespaces, runs, shell_runs, budget)?);
    }
    Ok(Findings::new("pfnwatch scan over made-up hosts", "shell", rows))
}

fn measure_host(namespaces: u32, runs: usize, shell_runs: usize, budget: Option<Duration>) -> Result<Vec<Row>> {
    // sysfs is in memory, and so is its replacement if the host has a file system there.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_path_buf() } else { env::temp_dir() };
    let folder = tempfile::tempdir_in(&folder).with_context(|| format!("cannot write to {}", folder.display()))?;
    let sysfs = folder.path();
    let host = tree::Tree::new(sysfs).and_then(|tree| tree.crowd(namespaces));
    host.with_context(|| format!("cannot make a host of {namespaces} namespaces in {}", sysfs.display()))?;
    check(sysfs, namespaces)?;
    let ours = Cost::median_of(runs, || Cost::of(scan(sysfs).stdout(Stdio::null()), &[0, 3]))?;
    let peer = Cost::median_of(shell_runs, || Cost::of(shell(sysfs).stdout(Stdio::null()), &[0]))?;
    let each = |cost: &Cost| ms(cost.took) * 1e3 / f64::from(namespaces);
    let time = Row::new(format!("{namespaces} namespaces"), "ms", ms(ours.took)).beside(ms(peer.took));
    Ok(vec![
        Row { budget: budget.map(ms), ..time },
        Row::new("  a namespace", "us", each(&ours)).beside(each(&peer)),
        Row::new("  system calls", "", calls(&scan(sysfs))?).beside(calls(&shell(sysfs))?),
        Row::new("  memory", "MiB", mib(ours.peak_bytes)).beside(mib(peer.peak_bytes)),
    ])
}

/// The system calls of a command, its children's included, by strace.
fn calls(command: &Command) -> Result<f64> {
    let summary = tempfile::NamedTempFile::new().context("no temporary file")?;
    let mut traced = Command::new("strace");
    traced.args(["-f", "-c", "-o"]).arg(summary.path()).arg(command.get_program()).args(command.get_args());
    traced.stdout(Stdio::null()).status().context("strace cannot be started")?;
    let text = std::fs::read_to_string(summary.path()).context("strace left no summary")?;
    total(&text).with_context(|| format!("strace counted nothing: {text}"))
}

/// strace's last line: `100.00    0.001234           2       567        89 total`.
fn total(summary: &str) -> Option<f64> {
    let line = summary.lines().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

fn scan(sysfs: &Path) -> Command {
    let mut command = Command::new(paths::agent());
    command.arg("--path.sysfs").arg(sysfs).args(["scan", "--format", "json"]);
    command
}

fn shell(sysfs: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", SHELL, "sh"]).arg(sysfs);
    command
}

/// A quick answer that leaves something out is none.
fn check(sysfs: &Path, namespaces: u32) -> Result<()> {
    let output = scan(sysfs).output().context("pfnwatch cannot be started")?;
    let report: Value = serde_json::from_slice(&output.stdout).context("pfnwatch scan printed no JSON")?;
    let found = report.get("namespaces").and_then(Value::as_array).map_or(0, Vec::len);
    ensure!(Ok(namespaces) == u32::try_from(found), "pfnwatch scan found {found} of {namespaces} namespaces");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strace_s_total() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n \
            45.00    0.000450           4       100           openat\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.001000           5       166        34 total\n";
        assert_eq!(total(summary), Some(166.0));
        assert_eq!(total(""), None);
    }
}
