//! What `cargo xtask demo` shows of a kernel: the agent's lines while three namespaces are made, and a scan of them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::Port;
use crate::report::Report;
use crate::{agent, command, modules, pfnwatch};

/// The regions of the demo's machine.
const REGIONS: usize = 1;
const LIMIT: Duration = Duration::from_secs(30);
/// The namespaces, as ndctl is asked for them.
const NAMESPACES: [[&str; 6]; 3] = [
    ["-m", "fsdax", "-M", "dev", "-s", "4G"],
    ["-m", "devdax", "-M", "dev", "-s", "4G"],
    ["-m", "devdax", "-M", "mem", "-s", "1G"],
];

/// Shows everything, and ends with the totals and a verdict.
pub(super) fn run(port: &mut Port) -> Result<()> {
    let start = Instant::now();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    modules::load_regions(REGIONS)?;
    for arguments in [["disable-region", "all"].as_slice(), &["init-labels", "-f", "all"], &["enable-region", "all"]] {
        command::run("/bin/ndctl", arguments)?;
    }
    port.send(&Report::Ready { release, tests: 1 });
    create(port)?;
    let mut show = |line: &str| port.send(&Report::Output { line: line.to_owned() });
    show("");
    show("$ pfnwatch scan");
    let table = Command::new(agent::PROGRAM).arg("scan").env("LC_ALL", "C.UTF-8").output().context("no scan")?;
    String::from_utf8_lossy(&table.stdout).lines().for_each(&mut show);
    let code = table.status.code().with_context(|| format!("the scan ended with {}", table.status))?;
    let totals = pfnwatch::scan(code)?;
    let number = |key: &str| {
        let number = totals.pointer(&format!("/totals/{key}")).and_then(Value::as_u64);
        number.with_context(|| format!("a scan without {key}: {totals:#}"))
    };
    let [size_bytes, usable_bytes, excess_bytes] =
        [number("size_bytes")?, number("usable_bytes")?, number("excess_bytes")?];
    port.send(&Report::Totals { size_bytes, usable_bytes, excess_bytes });
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    port.send(&Report::Passed { name: "demo".to_owned(), duration_ms });
    port.send(&Report::Verdict { passed: 1, failed: 0 });
    Ok(())
}

/// Makes the namespaces, and shows what the agent says meanwhile.
fn create(port: &mut Port) -> Result<()> {
    let mut child = Command::new(agent::PROGRAM);
    let mut child = child.arg("run").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("no agent")?;
    let stdout = child.stdout.take().context("the agent has no output")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    show_until(port, &lines, "ready")?;
    for arguments in NAMESPACES {
        port.send(&Report::Output { line: format!("\n$ ndctl create-namespace {}", arguments.join(" ")) });
        command::run("/bin/ndctl", &[&["create-namespace"], arguments.as_slice()].concat())?;
        show_until(port, &lines, "create")?;
    }
    kill(Pid::from_raw(i32::try_from(child.id()).context("a pid out of range")?), Signal::SIGTERM)?;
    child.wait().context("the agent does not end")?;
    Ok(())
}

/// Waits for the agent's line of this kind, the word behind its time, and shows it.
fn show_until(port: &mut Port, lines: &Receiver<String>, kind: &str) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if line.split_whitespace().nth(1) == Some(kind) {
            port.send(&Report::Output { line });
            return Ok(());
        }
    }
    bail!("the agent did not say `{kind}` within {} s", LIMIT.as_secs())
}
