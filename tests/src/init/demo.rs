//! What `cargo xtask demo` shows of a kernel: the agent's lines while three namespaces are made, a scan of them, and what
//! the guard makes of a fourth; on a kernel that does not return memmaps, what a disabled namespace costs.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::Port;
use crate::report::Report;
use crate::{agent, command, modules, pfnwatch, wait};

const REGIONS: usize = 1;
const TIMEOUT: Duration = Duration::from_secs(30);
/// How far apart the lines of one event may be.
const BELOW: Duration = Duration::from_millis(300);
const NAMESPACES: [[&str; 6]; 3] = [
    ["-m", "fsdax", "-M", "dev", "-s", "4G"],
    ["-m", "devdax", "-M", "dev", "-s", "4G"],
    ["-m", "devdax", "-M", "mem", "-s", "1G"],
];

pub(super) fn run(port: &mut Port) -> Result<()> {
    let start = Instant::now();
    let agent = prepare(port)?;
    wait_until_armed()?;
    for arguments in &NAMESPACES {
        create(port, &agent, arguments)?;
    }
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
    enforce(port, &agent)?;
    passed(port, start);
    Ok(())
}

/// Enables a namespace with its memmap in DRAM, and disables it.
pub(super) fn memmap_return(port: &mut Port) -> Result<()> {
    let start = Instant::now();
    let agent = prepare(port)?;
    create(port, &agent, &["-m", "fsdax", "-M", "mem", "-s", "4G"])?;
    show_command(port, "/bin/ndctl", "ndctl", &["disable-namespace", "namespace0.0"])?;
    agent.show(port, "that the memmap was not returned", is("NOT"))?;
    passed(port, start);
    Ok(())
}

/// An empty region with labels, and an agent that observes it.
fn prepare(port: &mut Port) -> Result<Shown> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    modules::load_regions(REGIONS)?;
    for arguments in [["disable-region", "all"].as_slice(), &["init-labels", "-f", "all"], &["enable-region", "all"]] {
        command::run("/bin/ndctl", arguments)?;
    }
    port.send(&Report::Ready { release, tests: 1 });
    let agent = Shown::start()?;
    agent.show(port, "that it is ready", is("ready"))?;
    Ok(agent)
}

fn passed(port: &mut Port, start: Instant) {
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    port.send(&Report::Passed { name: "demo".to_owned(), duration_ms });
    port.send(&Report::Verdict { passed: 1, failed: 0 });
}

struct Shown {
    child: Child,
    lines: Receiver<String>,
}

impl Shown {
    fn start() -> Result<Self> {
        let mut child = Command::new(agent::PROGRAM);
        let mut child = child.arg("run").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("no agent")?;
        let stdout = child.stdout.take().context("the agent has no output")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Ok(Self { child, lines })
    }

    /// Waits for the agent's line that matches `is`, and shows it with the indented lines below it.
    fn show(&self, port: &mut Port, what: &str, is: impl Fn(&str) -> bool) -> Result<String> {
        let end = Instant::now() + TIMEOUT;
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if is(&line) {
                port.send(&Report::Output { line: line.clone() });
                while let Ok(below) = self.lines.recv_timeout(BELOW)
                    && below.starts_with(' ')
                {
                    port.send(&Report::Output { line: below });
                }
                return Ok(line);
            }
        }
        bail!("the agent did not report {what} within {} s", TIMEOUT.as_secs())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

fn is(kind: &'static str) -> impl Fn(&str) -> bool {
    move |line| line.split_whitespace().nth(1) == Some(kind)
}

/// What the commands print is not shown.
fn wait_until_armed() -> Result<()> {
    wait::until("an armed guard", TIMEOUT, || {
        let status = Command::new(agent::PROGRAM).args(["status", "--format", "json"]).output().ok()?;
        let status: Value = serde_json::from_slice(&status.stdout).ok()?;
        (status.pointer("/guard/armed") == Some(&Value::Bool(true))).then_some(())
    })
}

fn create(port: &mut Port, agent: &Shown, arguments: &[&str]) -> Result<()> {
    port.send(&Report::Output { line: format!("\n$ ndctl create-namespace {}", arguments.join(" ")) });
    command::run("/bin/ndctl", &[&["create-namespace"], arguments].concat())?;
    agent.show(port, "that it saw it", is("create")).map(drop)
}

/// Enables enforcement, and creates one more namespace: a kernel with the regression is denied.
fn enforce(port: &mut Port, agent: &Shown) -> Result<()> {
    show_command(port, agent::PROGRAM, "pfnwatch", &["mode", "enforce", "--reason", "demo"])?;
    show_command(port, "/bin/ndctl", "ndctl", &["create-namespace", "-m", "fsdax", "-M", "dev", "-s", "512M"])?;
    agent.show(port, "what became of it", |line| is("create")(line) || is("DENIED")(line)).map(drop)
}

/// Runs a command, and shows it with what it prints, but for ndctl's JSON.
fn show_command(port: &mut Port, program: &str, name: &str, arguments: &[&str]) -> Result<()> {
    port.send(&Report::Output { line: format!("\n$ {name} {}", arguments.join(" ")) });
    let done = Command::new(program).args(arguments).output().with_context(|| format!("no {name}"))?;
    let json = |text: &str| text.starts_with('{');
    let said = [String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)];
    for line in said.iter().filter(|text| !json(text)).flat_map(|text| text.lines()) {
        port.send(&Report::Output { line: line.to_owned() });
    }
    Ok(())
}
