//! Runs the tests one by one, each in a process of its own, so that an abort or a hang stays its own.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Port;
use crate::boot_config::{BootConfig, Purpose};
use crate::dmesg::Mark;
use crate::report::Report;
use crate::{debian, scope, wait};

const TESTS: &str = "/bin/e2e";
/// Where a test's output goes: a file, because a pipe would stay open in a process that it left behind.
const OUTPUT: &str = "/run/e2e.out";
/// The agent's event store by default.
const STORE: &str = "/var/lib/pfnwatch";
/// How much of the kernel's log is shown with a failed test.
const KERNEL_LINES: usize = 40;
const WORDS: usize = 300;
const END_LIMIT: Duration = Duration::from_secs(2);
/// When it is killed again: one of them may have started another process meanwhile.
const KILL_INTERVAL: Duration = Duration::from_millis(50);

enum Place {
    /// A guest with nothing in it but what a test has started.
    Bare,
    /// A Debian, whose own processes and files stay.
    Debian,
}

impl Place {
    fn of(config: &BootConfig) -> Self {
        match config.purpose {
            Purpose::TestsUnderSystemd => Self::Debian,
            Purpose::Tests
            | Purpose::Demo
            | Purpose::DemoMemmapReturn
            | Purpose::BenchGuard
            | Purpose::BenchAgent
            | Purpose::BenchNdctl => Self::Bare,
        }
    }

    fn tests(&self) -> &'static str {
        match self {
            Self::Bare => TESTS,
            Self::Debian => debian::TESTS,
        }
    }

    /// The store of an earlier test's agent must not affect the next test.
    fn forget(&self) {
        if matches!(self, Self::Bare) {
            let _ = fs::remove_dir_all(STORE);
        }
    }

    fn left_over(&self, test: Pid) -> Pid {
        match self {
            // To PID 1, -1 means everyone else.
            Self::Bare => Pid::from_raw(-1),
            // Those of the test's process group.
            Self::Debian => Pid::from_raw(-test.as_raw()),
        }
    }
}

pub(super) fn run(config: &BootConfig, port: &mut Port) -> Result<()> {
    let place = Place::of(config);
    let listed = list(&place)?;
    let mine = |test: &&String| config.wants(test) && scope::of(test).scenario == config.scenario;
    let wanted: Vec<String> = listed.iter().filter(mine).cloned().collect();
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|test| scope::of(test).lines.contain(&config.line));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    port.send(&Report::Ready { release, tests: here.len() });
    for name in elsewhere {
        let lines = scope::of(&name).lines.words().to_owned();
        port.send(&Report::Elsewhere { name, lines });
    }
    let (mut passed, mut failed) = (0, 0);
    for name in here {
        match run_one(&place, &name, Duration::from_secs(config.test_limit_s), port)? {
            true => passed += 1,
            false => failed += 1,
        }
    }
    // The host may end the guest from now on: what it has written is on its disk, where it has one.
    nix::unistd::sync();
    port.send(&Report::Verdict { passed, failed });
    Ok(())
}

fn list(place: &Place) -> Result<Vec<String>> {
    let tests = place.tests();
    let output = Command::new(tests).args(["--list", "--format", "terse"]).output();
    let output = output.with_context(|| format!("cannot run {tests}"))?;
    ensure!(output.status.success(), "{tests} --list: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

fn run_one(place: &Place, name: &str, limit: Duration, port: &mut Port) -> Result<bool> {
    port.send(&Report::Started { name: name.to_owned() });
    let (start, log) = (Instant::now(), Mark::now().ok());
    let outcome = execute(place, name, limit)?;
    let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    // A file with bytes that are no UTF-8 is shown all the same.
    let output = String::from_utf8_lossy(&fs::read(OUTPUT).unwrap_or_default()).into_owned();
    let why = match outcome {
        Some(status) if status.success() && output.contains("test result: ok. 1 passed") => {
            port.send(&Report::Passed { name: name.to_owned(), duration_ms });
            return Ok(true);
        }
        Some(status) if status.success() => "it did not run".to_owned(),
        Some(status) => words_of(&output).unwrap_or_else(|| status.to_string()),
        None => format!("it was ended at its limit of {} s", limit.as_secs()),
    };
    port.send(&Report::Failed { name: name.to_owned(), duration_ms, why });
    for line in output.lines().chain(kernel_log(log).lines()) {
        port.send(&Report::Output { line: line.to_owned() });
    }
    Ok(false)
}

/// A failed test's own message: the error that it returned with its causes, or its panic.
fn words_of(output: &str) -> Option<String> {
    let lines = || output.lines().map(str::trim);
    let returned = lines().find_map(|line| Some(line.split_once("Error:")?.1.trim()));
    let words = match returned {
        Some(error) => {
            let causes = lines().skip_while(|line| *line != "Caused by:").skip(1).take_while(|line| !line.is_empty());
            [error].into_iter().chain(causes).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
        }
        None => lines().skip_while(|line| !line.contains(" panicked at ")).nth(1)?.to_owned(),
    };
    Some(words.chars().take(WORDS).collect())
}

/// Runs one test to its end, or to its limit: `None`. Ends whatever it left running.
fn execute(place: &Place, name: &str, limit: Duration) -> Result<Option<ExitStatus>> {
    place.forget();
    let output = File::create(OUTPUT).with_context(|| format!("cannot create {OUTPUT}"))?;
    let child = Command::new(place.tests())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env("PATH", "/bin:/sbin")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stderr(output.try_clone().context("cannot share the output file")?)
        .stdout(output)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot run {}", place.tests()))?;
    let test = Pid::from_raw(i32::try_from(child.id()).context("a pid out of range")?);
    let children = ChildEnds::listen()?;
    let end = Instant::now() + limit;
    let mut status = None;
    while status.is_none() && Instant::now() < end {
        match reap_one() {
            Reaped::One(pid, how) if pid == test => status = Some(how),
            Reaped::One(..) => (),
            Reaped::NoneYet | Reaped::NoChild => children.wait(end.saturating_duration_since(Instant::now()))?,
        }
    }
    end_everything(place.left_over(test), &children)?;
    Ok(status)
}

/// Ends of children to wait for: SIGCHLD, blocked and read from a descriptor.
struct ChildEnds(SignalFd);

impl ChildEnds {
    /// Call it after the child is started, which would inherit the blocked signal. To catch earlier ends, reap first
    /// and wait then.
    fn listen() -> Result<Self> {
        let signals = SigSet::from(Signal::SIGCHLD);
        signals.thread_block().context("cannot block SIGCHLD")?;
        let file = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        Ok(Self(file.context("no descriptor of signals")?))
    }

    /// Waits until a child has ended since the last wait, or for so long.
    fn wait(&self, limit: Duration) -> Result<()> {
        wait::readable(&self.0, limit)?;
        // One signal can mean any number of ended children.
        self.0.read_signal().context("cannot read a signal").map(drop)
    }
}

impl Drop for ChildEnds {
    fn drop(&mut self) {
        let _ = SigSet::from(Signal::SIGCHLD).thread_unblock();
    }
}

enum Reaped {
    One(Pid, ExitStatus),
    NoneYet,
    NoChild,
}

/// Takes one ended child, the test's own or an orphan.
fn reap_one() -> Reaped {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(pid, code)) => Reaped::One(pid, ExitStatus::from_raw(code << 8)),
        Ok(WaitStatus::Signaled(pid, signal, _)) => Reaped::One(pid, ExitStatus::from_raw(signal as i32)),
        Err(Errno::ECHILD) => Reaped::NoChild,
        Ok(_) | Err(_) => Reaped::NoneYet,
    }
}

/// Ends all of these processes. One that does not die within two seconds hangs in the kernel: the kernel's own
/// detectors and the host's limit handle that.
fn end_everything(left_over: Pid, children: &ChildEnds) -> Result<()> {
    let end = Instant::now() + END_LIMIT;
    while Instant::now() < end {
        let _ = kill(left_over, Signal::SIGKILL);
        match reap_one() {
            Reaped::NoChild => return Ok(()),
            Reaped::One(..) => (),
            Reaped::NoneYet => children.wait(KILL_INTERVAL)?,
        }
    }
    Ok(())
}

fn kernel_log(since: Option<Mark>) -> String {
    let messages = since.map(Mark::since).and_then(Result::ok).unwrap_or_default();
    let skipped = messages.len().saturating_sub(KERNEL_LINES);
    messages.iter().skip(skipped).fold(String::new(), |tail, message| tail + "kernel: " + &message.text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_say_why() {
        let returned =
            "running 1 test\ntest a::b ... Error: the last\n\nCaused by:\n    0: the middle\n    1: the first\n\nmore";
        assert_eq!(words_of(returned).as_deref(), Some("the last, 0: the middle, 1: the first"));
        let behind_output = "test a::b ... Error: \noutput of the agent (0 lines left out):\n    {}\n\nCaused by:\n    not within 1 s\n";
        assert_eq!(words_of(behind_output).as_deref(), Some("not within 1 s"));
        let panicked =
            "test a::b ... \nthread 'a::b' (7) panicked at tests/e2e/a.rs:1:2:\nassertion failed: no\nnote: run";
        assert_eq!(words_of(panicked).as_deref(), Some("assertion failed: no"));
        assert_eq!(words_of("running 1 test\n"), None);
    }
}
