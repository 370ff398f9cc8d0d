//! The agent under test: started, waited for, read line by line, stopped.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};
use std::{mem, thread};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{schema, wait};

pub const PROGRAM: &str = "/bin/pfnwatch";
const READY: &str = "ready";
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// From the event in the kernel to its line.
const EVENT_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_SHOWN_LINES: usize = 60;
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// A running `pfnwatch run --format json`. Killed when dropped.
pub struct Agent {
    child: Child,
    lines: Receiver<OutputLine>,
    seen: Vec<OutputLine>,
}

#[derive(Clone, Debug)]
enum OutputLine {
    Json(Value),
    Text(String),
    /// Invalid standard output: no JSON, or not of the schema of its kind.
    Mismatch(String),
}

impl Agent {
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let mut agent = Self::spawn(arguments)?;
        agent.ready()?;
        Ok(agent)
    }

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

    pub fn ready(&mut self) -> Result<()> {
        let ready = |json: &Value| (json.get("event")?.as_str()? == READY).then_some(());
        self.event("the agent's ready", READY_TIMEOUT, ready)
    }

    pub fn event<T>(&mut self, what: &str, limit: Duration, pick: impl Fn(&Value) -> Option<T>) -> Result<T> {
        self.line(what, limit, |line| match line {
            OutputLine::Json(json) => pick(json),
            OutputLine::Text(_) | OutputLine::Mismatch(_) => None,
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
                Err(_) => bail!("{what}: {} of {count} within {} s{}", accepted.len(), limit.as_secs(), self.output()),
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

    /// Ends it by SIGTERM, which must succeed, and returns its last event: what it received and lost.
    pub fn stop_and_count(&mut self) -> Result<Value> {
        let status = self.stop()?;
        ensure!(status.success(), "the agent ended with {status}{}", self.output());
        self.event("the agent's last word", EVENT_TIMEOUT, |event| {
            has_text(event, "event", "stopped").then(|| event.clone())
        })
    }

    /// Ends it by SIGTERM, waits, and returns its exit status. Its output can still be read.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait_for_exit()
    }

    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        let status = self.wait_for_exit()?;
        match status.signal() {
            Some(9) => Ok(()),
            _ => bail!("the agent ended by itself: {status}{}", self.output()),
        }
    }

    /// The number of lines that are no events and contain this text.
    pub fn log_lines(&mut self, text: &str) -> usize {
        self.seen.extend(self.lines.try_iter());
        self.seen.iter().filter(|line| matches!(line, OutputLine::Text(line) if line.contains(text))).count()
    }

    /// All whole JSON lines of an agent that has ended.
    pub fn remaining_events(&mut self) -> Vec<Value> {
        self.read_to_end();
        self.events(|_| true)
    }

    /// Waits for it to end by itself, and until all its output is read.
    pub fn wait_for_exit(&mut self) -> Result<ExitStatus> {
        let ended = wait::exit_of("the agent", &mut self.child, STOP_TIMEOUT).with_context(|| self.output())?;
        self.read_to_end();
        Ok(ended)
    }

    /// Reads both streams to their end: a process can be gone before its output is read.
    fn read_to_end(&mut self) {
        self.seen.extend(self.lines.iter());
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid()?, signal).with_context(|| format!("cannot send {signal} to the agent"))
    }

    pub fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id()).context("a pid out of range")?))
    }

    pub fn output(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        let left_out = self.seen.len().saturating_sub(MAX_SHOWN_LINES);
        let shown = self
            .seen
            .iter()
            .enumerate()
            .filter(|(at, _)| !(MAX_SHOWN_LINES / 2..MAX_SHOWN_LINES / 2 + left_out).contains(at));
        shown.fold(format!("\noutput of the agent ({left_out} lines left out):"), |text, (_, line)| match line {
            OutputLine::Json(json) => text + "\n    " + &json.to_string(),
            OutputLine::Text(line) | OutputLine::Mismatch(line) => text + "\n    " + line,
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
        let mismatch = self.seen.iter().find(|line| matches!(line, OutputLine::Mismatch(_)));
        // A test that fails anyway has shown the agent's output.
        assert!(mismatch.is_none() || thread::panicking(), "the agent wrote a line that is not valid: {mismatch:?}");
    }
}

fn json_of<'a>(lines: impl Iterator<Item = &'a OutputLine>) -> impl Iterator<Item = &'a Value> {
    lines.filter_map(|line| match line {
        OutputLine::Json(json) => Some(json),
        OutputLine::Text(_) | OutputLine::Mismatch(_) => None,
    })
}

pub fn has_text(event: &Value, key: &str, value: &str) -> bool {
    event.get(key).and_then(Value::as_str) == Some(value)
}

/// A line of standard output: an event that matches the schema of its kind.
fn parse_line(line: String) -> OutputLine {
    let event = serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"));
    match event.and_then(|event| schema::check_event(&event).map(|()| event)) {
        Ok(event) => OutputLine::Json(event),
        Err(mismatch) => OutputLine::Mismatch(mismatch),
    }
}

/// Reads whole lines: one that a SIGKILL cut short is dropped.
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
