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

use super::line::Line;
use crate::agent::PROGRAM;
use crate::bench::ATTEMPTS;
use crate::bench::agent::Started;
use crate::bench::footprint::tracing_links;
use crate::bench::tracer::bpftrace;

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
