//! `pfnwatch scan` over made-up hosts, and a shell loop that reads the same attributes and judges nothing.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Findings;
use super::peer::{self, Row, Times};
use crate::paths;

#[path = "../../../pfnwatch/tests/support/tree.rs"]
mod tree;

/// Namespaces of a host, runs of ours and of the shell, and the budget for ours.
const HOSTS: [(u32, usize, usize, Option<Duration>); 3] =
    [(10, 30, 10, None), (1_000, 30, 5, Some(Duration::from_millis(50))), (10_000, 10, 3, None)];

/// `read` is built into every sh: no process is started for a file, which is the shell at its best.
const SHELL: &str = r#"
cd "$1/bus/nd/devices" || exit 1
for namespace in namespace*; do
    line=$namespace
    for attribute in mode size resource uuid holder; do
        value=; [ -r "$namespace/$attribute" ] && read -r value <"$namespace/$attribute"
        line="$line $value"
    done
    claimer=$value
    [ -n "$claimer" ] || continue
    for attribute in mode align uuid size resource; do
        value=; [ -r "$claimer/$attribute" ] && read -r value <"$claimer/$attribute"
        line="$line $value"
    done
    echo "$line"
done
"#;

/// Makes each host, and times both on it.
pub(super) fn measure() -> Result<Findings> {
    let rows = HOSTS
        .iter()
        .map(|&(namespaces, runs, shell_runs, budget)| measure_host(namespaces, runs, shell_runs, budget))
        .collect::<Result<Vec<_>>>()?;
    Ok(peer::findings(&rows))
}

fn measure_host(namespaces: u32, runs: usize, shell_runs: usize, budget: Option<Duration>) -> Result<Row> {
    // sysfs is in memory, and so is what stands for it, where the host has a file system there.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_path_buf() } else { env::temp_dir() };
    let folder = tempfile::tempdir_in(&folder).with_context(|| format!("cannot write to {}", folder.display()))?;
    let sysfs = folder.path();
    let host = tree::Tree::new(sysfs).and_then(|tree| tree.crowd(namespaces));
    host.with_context(|| format!("cannot make a host of {namespaces} namespaces in {}", sysfs.display()))?;
    check(sysfs, namespaces)?;
    let ours = Times::of(runs, || timed(scan(sysfs).stdout(Stdio::null()), &[0, 3]))?;
    let peer = Times::of(shell_runs, || timed(shell(sysfs).stdout(Stdio::null()), &[0]))?;
    Ok(Row { what: format!("{namespaces} namespaces"), ours, peer, budget })
}

fn scan(sysfs: &Path) -> Command {
    let mut command = Command::new(paths::target().join("release/pfnwatch"));
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

/// From the start of the process to its end.
fn timed(command: &mut Command, codes: &[i32]) -> Result<Duration> {
    let start = Instant::now();
    let status = command.status().context("cannot be started")?;
    let took = start.elapsed();
    ensure!(status.code().is_some_and(|code| codes.contains(&code)), "ended with {status}");
    Ok(took)
}
