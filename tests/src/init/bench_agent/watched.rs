//! A process that watches libnvdimm and writes lines, and the lines that it writes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde_json::Value;

use crate::agent::PROGRAM;
use crate::bench::footprint::tracing_links;
use crate::bench::tracer::bpftrace;
use crate::bench::{ATTEMPTS, Started};

const TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);

const ONE_PROBE: &str = "fentry:libnvdimm:nvdimm_setup_pfn { printf(\"%p\\n\", args.nd_pfn); }";

pub(super) struct Watched {
    pub(super) what: Started,
    pub(super) pid: Pid,
    child: Child,
    lines: Receiver<Line>,
}

impl Watched {
    pub(super) fn start(what: Started) -> Result<(Self, Duration)> {
        match what {
            Started::Pfnwatch => {
                let began = Instant::now();
                let watched = Self::spawn(what, Command::new(PROGRAM).args(["run", "--format", "json"]))?;
                while !watched.next()?.text.contains("\"event\":\"ready\"") {}
                Ok((watched, began.elapsed()))
            }
            Started::OneProbe => Self::trace(what, ONE_PROBE),
            Started::SameFields => Self::trace(what, ATTEMPTS),
        }
    }

    /// bpftrace does not report when it is attached: the kernel does. The time of asking is not counted as bpftrace's.
    fn trace(what: Started, script: &str) -> Result<(Self, Duration)> {
        let probes = script.lines().filter(|line| line.starts_with("fentry:") || line.starts_with("fexit:")).count();
        let (began, mut asking) = (Instant::now(), Duration::ZERO);
        let mut watched = Self::spawn(what, &mut bpftrace([script]))?;
        loop {
            let before = thread_time()?;
            let attached = tracing_links(watched.pid) == probes;
            asking += thread_time()? - before;
            if attached {
                return Ok((watched, began.elapsed().saturating_sub(asking)));
            }
            ensure!(began.elapsed() < TIMEOUT, "bpftrace is not attached within {} s", TIMEOUT.as_secs());
            ensure!(watched.child.try_wait()?.is_none(), "bpftrace has ended");
            sleep(POLL);
        }
    }

    fn spawn(what: Started, command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start {what:?}"))?;
        let pid = Pid::from_raw(i32::try_from(child.id()).context("a pid out of range")?);
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let (sender, lines) = mpsc::channel();
        // A thread of its own: where nobody reads, a full pipe would hold up what is measured.
        thread::spawn(move || {
            for text in stdout.lines().map_while(Result::ok) {
                let Ok(read) = Line::now(text) else { return };
                if sender.send(read).is_err() {
                    return;
                }
            }
        });
        Ok(Self { what, pid, child, lines })
    }

    pub(super) fn next(&self) -> Result<Line> {
        self.lines.recv_timeout(TIMEOUT).with_context(|| format!("{:?} writes no line", self.what))
    }

    /// Reads on to the line that ends an attempt to bind this device, and returns its delay.
    pub(super) fn end_of(&self, device: &str) -> Result<Duration> {
        loop {
            let line = self.next()?;
            if line.ends(device) {
                return line.lateness().with_context(|| format!("a line without a time: {}", line.text));
            }
        }
    }

    /// All lines until there are none for so long.
    pub(super) fn lines_until_quiet(&self, quiet: Duration) -> Vec<Line> {
        std::iter::from_fn(|| self.lines.recv_timeout(quiet).ok()).collect()
    }

    /// By a signal that bpftrace cannot miss: it would wait forever if a SIGINT came before it waits at all.
    pub(super) fn end(mut self) -> Result<()> {
        self.child.kill().context("cannot be ended")?;
        self.child.wait().context("cannot be waited for")?;
        // The kernel lets go of programs a little later.
        sleep(Duration::from_secs(2));
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
    }
}

fn thread_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("no clock of the thread's")?.into())
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct Line {
    pub(super) text: String,
    since_boot: Duration,
    since_1970: Duration,
}

/// A set-up that ended with a valid info block: the start of its namespace, and its reservation.
#[derive(Debug, PartialEq)]
pub(super) struct SetUp {
    pub(super) start: u64,
    pub(super) reservation_bytes: u64,
}

impl Line {
    pub(super) fn now(text: String) -> Result<Self> {
        let clock = |id| clock_gettime(id).map(Duration::from).context("no clock");
        Ok(Self { text, since_boot: clock(ClockId::CLOCK_BOOTTIME)?, since_1970: clock(ClockId::CLOCK_REALTIME)? })
    }

    pub(super) fn ends(&self, device: &str) -> bool {
        match self.json() {
            Some(event) => is(&event, "event", "set_up") && is(&event, "device", device),
            None => self.text.starts_with("bind ") && self.value("device") == Some(device),
        }
    }

    /// The delay of the line after the kernel's time of its event.
    pub(super) fn lateness(&self) -> Option<Duration> {
        let Some(event) = self.json() else {
            let at = Duration::from_nanos(self.value("at_ns")?.parse().ok()?);
            return self.since_boot.checked_sub(at);
        };
        let (now, then) = (self.since_1970.as_micros() % DAY.as_micros(), micros_of_day(event.get("time")?.as_str()?)?);
        // Past midnight as well.
        u64::try_from((now + DAY.as_micros() - then) % DAY.as_micros()).ok().map(Duration::from_micros)
    }

    pub(super) fn set_up(&self) -> Option<SetUp> {
        if let Some(event) = self.json().filter(|event| is(event, "event", "set_up")) {
            let number = |key| event.get(key)?.as_u64();
            return Some(SetUp { start: number("start_address")?, reservation_bytes: number("reservation_bytes")? });
        }
        let number = |key| self.value(key)?.parse::<u64>().ok();
        if !self.text.starts_with("set_up ") || self.value("setup") != Some("0") {
            return None;
        }
        Some(SetUp { start: number("start")?, reservation_bytes: number("start_pad")? + number("dataoff")? })
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.text).ok()
    }

    /// bpftrace's `key=value`.
    fn value(&self, key: &str) -> Option<&str> {
        self.text.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }
}

fn is(event: &Value, key: &str, text: &str) -> bool {
    event.get(key).and_then(Value::as_str) == Some(text)
}

/// `2026-11-23T05:07:38.123456Z`
fn micros_of_day(rfc3339: &str) -> Option<u128> {
    let mut parts = rfc3339.split_once('T')?.1.trim_end_matches('Z').split([':', '.']);
    let mut number = || parts.next()?.parse::<u128>().ok();
    let (hours, minutes, seconds, micros) = (number()?, number()?, number()?, number()?);
    Some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        let since_1970 = DAY * 20_000 + Duration::from_millis(1);
        Line { text: text.to_owned(), since_boot: Duration::from_micros(7), since_1970 }
    }

    #[test]
    fn an_event_of_ours() {
        let event = line(
            r#"{"schema":1,"time":"2026-11-23T23:59:59.999500Z","event":"set_up","device":"pfn0.1","start_address":4096,"reservation_bytes":2097152}"#,
        );
        assert!(event.ends("pfn0.1") && !event.ends("pfn0.0"));
        assert_eq!(event.lateness(), Some(Duration::from_micros(1500)));
        assert_eq!(event.set_up(), Some(SetUp { start: 4096, reservation_bytes: 2_097_152 }));
        let failed = line(r#"{"time":"2026-11-23T23:59:59.999500Z","event":"set_up","start_address":4096}"#);
        assert_eq!(failed.set_up(), None);
    }

    #[test]
    fn lines_of_bpftrace() {
        let end = line("bind at_ns=3000 took_ns=1 tid=7 device=pfn0.1 region=region0 result=0");
        assert!(end.ends("pfn0.1") && !end.ends("pfn0.10"));
        assert_eq!(end.lateness(), Some(Duration::from_micros(4)));
        let set_up =
            "set_up at_ns=1 device=pfn0.1 uuid=ab cd setup=0 validate=0 start=4096 end=9 dataoff=100 start_pad=1";
        assert_eq!(line(set_up).set_up(), Some(SetUp { start: 4096, reservation_bytes: 101 }));
        assert_eq!(line(&set_up.replace("setup=0", "setup=-6")).set_up(), None);
        assert!(!line(set_up).ends("pfn0.1"));
    }
}
