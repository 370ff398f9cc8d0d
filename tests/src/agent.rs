//! The agent under test: started, waited for, read line by line, stopped.

use std::io::{BufRead, BufReader, Read};
use std::mem;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{schema, wait};

/// The agent's binary in the guest.
pub const PROGRAM: &str = "/bin/pfnwatch";
/// The event with which the agent says that it is attached, or idle.
const READY: &str = "ready";
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// From what happens in the kernel to the line that tells of it.
const EVENT_TIMEOUT: Duration = Duration::from_secs(20);
/// How many of its lines an error shows.
const MAX_SHOWN_LINES: usize = 60;
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// A running `pfnwatch run --format json`. Killed when dropped.
pub struct Agent {
    child: Child,
    lines: Receiver<OutputLine>,
    /// What it said so far, in order.
    seen: Vec<OutputLine>,
}

/// A line of the agent's.
#[derive(Clone, Debug)]
enum OutputLine {
    Json(Value),
    Text(String),
    /// What standard output must not have: no JSON, or not as the schema of its kind says.
    Misfit(String),
}

impl Agent {
    /// Starts the agent and waits until it says that it is ready.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let mut agent = Self::spawn(arguments)?;
        agent.ready()?;
        Ok(agent)
    }

    /// Starts the agent without waiting.
    pub fn spawn(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(PROGRAM);
        Self::spawn_by(command.args(["run", "--format", "json"]).args(arguments))
    }

    /// Starts a command whose output is the agent's, without waiting.
    pub fn spawn_by(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            read_lines(stdout, sender.clone(), parse_line);
        }
        if let Some(stderr) = child.stderr.take() {
            read_lines(stderr, sender, OutputLine::Text);
        }
        Ok(Self { child, lines, seen: Vec::new() })
    }

    /// Waits for the agent's `ready`.
    pub fn ready(&mut self) -> Result<()> {
        let ready = |json: &Value| (json.get("event")?.as_str()? == READY).then_some(());
        self.event("the agent's ready", READY_TIMEOUT, ready)
    }

    /// The first JSON line, of those seen and those to come, of which `pick` makes something.
    pub fn event<T>(&mut self, what: &str, limit: Duration, pick: impl Fn(&Value) -> Option<T>) -> Result<T> {
        self.line(what, limit, |line| match line {
            OutputLine::Json(json) => pick(json),
            OutputLine::Text(_) | OutputLine::Misfit(_) => None,
        })
    }

    /// All JSON lines until now that are accepted.
    pub fn events(&mut self, accept: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.seen.extend(self.lines.try_iter());
        json_of(self.seen.iter()).filter(|json| accept(json)).cloned().collect()
    }

    /// Waits until at least `count` JSON lines are accepted, and returns them.
    pub fn collect(
        &mut self,
        what: &str,
        count: usize,
        limit: Duration,
        accept: impl Fn(&Value) -> bool,
    ) -> Result<Vec<Value>> {
        let (end, mut next, mut accepted) = (Instant::now() + limit, 0, Vec::new());
        loop {
            self.seen.extend(self.lines.try_iter());
            accepted.extend(json_of(self.seen.iter().skip(next)).filter(|json| accept(json)).cloned());
            if accepted.len() >= count {
                return Ok(accepted);
            }
            next = self.seen.len();
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(_) => bail!("{what}: not within {} s{}", limit.as_secs(), self.output()),
            }
        }
    }

    /// The event of a set-up of a namespace whose block was `made`, `met`, ….
    pub fn set_up(&mut self, namespace_uuid: &str, block: &str) -> Result<Value> {
        self.event(&format!("a set-up of {namespace_uuid}, block {block}"), EVENT_TIMEOUT, |event| {
            let wanted = [("event", "set_up"), ("namespace_uuid", namespace_uuid), ("block", block)];
            wanted.iter().all(|(key, value)| has_text(event, key, value)).then(|| event.clone())
        })
    }

    /// Asks it to end by SIGTERM, which must end well, and returns its last event: what it received and lost.
    pub fn stop_and_count(&mut self) -> Result<Value> {
        let status = self.stop()?;
        ensure!(status.success(), "the agent ended with {status}{}", self.output());
        self.event("the agent's last word", EVENT_TIMEOUT, |event| {
            has_text(event, "event", "stopped").then(|| event.clone())
        })
    }

    /// Asks it to end by SIGTERM, waits for that, and returns how it ended. What it said stays to be read.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait_for_exit()
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        let status = self.wait_for_exit()?;
        match status.signal() {
            Some(9) => Ok(()),
            _ => bail!("the agent ended by itself: {status}{}", self.output()),
        }
    }

    /// How many of the lines that are no events hold this text.
    pub fn log_lines(&mut self, text: &str) -> usize {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().filter(|line| matches!(line, OutputLine::Text(line) if line.contains(text))).count()
    }

    /// All whole JSON lines of an agent that has ended: nothing comes after them.
    pub fn remaining_events(&mut self) -> Vec<Value> {
        self.read_to_end();
        self.events(|_| true)
    }

    /// Waits for it to end by itself, and until all that it said is read.
    pub fn wait_for_exit(&mut self) -> Result<ExitStatus> {
        let ended = wait::exit_of("the agent", &mut self.child, STOP_TIMEOUT).with_context(|| self.output())?;
        self.read_to_end();
        Ok(ended)
    }

    /// Reads both streams to their end, after which nobody sends any more: a process can be gone before its words are read.
    fn read_to_end(&mut self) {
        self.seen.extend(self.lines.iter());
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid()?, signal).with_context(|| format!("cannot send {signal} to the agent"))
    }

    /// Its process id.
    pub fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id()).context("a pid out of range")?))
    }

    /// What it said, for an error: how it began, and how it ended.
    pub fn output(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        let left_out = self.seen.len().saturating_sub(MAX_SHOWN_LINES);
        let shown = self
            .seen
            .iter()
            .enumerate()
            .filter(|(at, _)| !(MAX_SHOWN_LINES / 2..MAX_SHOWN_LINES / 2 + left_out).contains(at));
        shown.fold(format!("\nthe agent said ({left_out} lines left out):"), |text, (_, line)| match line {
            OutputLine::Json(json) => text + "\n    " + &json.to_string(),
            OutputLine::Text(line) | OutputLine::Misfit(line) => text + "\n    " + line,
        })
    }

    fn line<T>(&mut self, what: &str, limit: Duration, pick: impl Fn(&OutputLine) -> Option<T>) -> Result<T> {
        let end = Instant::now() + limit;
        let mut next = 0;
        loop {
            if let Some(found) = self.seen.iter().skip(next).find_map(&pick) {
                return Ok(found);
            }
            next = self.seen.len();
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(_) => bail!("{what}: not within {} s{}", limit.as_secs(), self.output()),
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.read_to_end();
        let misfit = self.seen.iter().find(|line| matches!(line, OutputLine::Misfit(_)));
        // A test that fails anyway has shown what the agent said.
        assert!(misfit.is_none() || thread::panicking(), "the agent said what it must not: {misfit:?}");
    }
}

/// The events among these lines.
fn json_of<'a>(lines: impl Iterator<Item = &'a OutputLine>) -> impl Iterator<Item = &'a Value> {
    lines.filter_map(|line| match line {
        OutputLine::Json(json) => Some(json),
        OutputLine::Text(_) | OutputLine::Misfit(_) => None,
    })
}

/// Whether an event has this text under this key.
pub fn has_text(event: &Value, key: &str, value: &str) -> bool {
    event.get(key).and_then(Value::as_str) == Some(value)
}

/// A line of standard output: an event, and as the schema of its kind says.
fn parse_line(line: String) -> OutputLine {
    let event = serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"));
    match event.and_then(|event| schema::check_event(&event).map(|()| event)) {
        Ok(event) => OutputLine::Json(event),
        Err(misfit) => OutputLine::Misfit(misfit),
    }
}

/// Reads whole lines: one that a SIGKILL has cut short is none.
fn read_lines(from: impl Read + Send + 'static, to: Sender<OutputLine>, read: fn(String) -> OutputLine) {
    thread::spawn(move || {
        let (mut from, mut line) = (BufReader::new(from), String::new());
        while from.read_line(&mut line).is_ok() && line.pop() == Some('\n') {
            if to.send(read(mem::take(&mut line))).is_err() {
                return;
            }
        }
    });
}
