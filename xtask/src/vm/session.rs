//! One guest from its start to its end: reads its output, live, and enforces its time limit.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use guest::report::Report;

use super::console::{Console, LOST_TIMER};
use crate::process;

/// From the start of QEMU to the guest's first report. Under emulation 3 to 8 s are usual.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// How long a kernel that ails may go on printing.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a guest may take from its verdict to its end.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(20);

const MONITOR_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) passed: usize,
    /// And one more if the guest itself failed.
    pub(super) failed: usize,
    /// Why the guest itself failed, with the console's end; `None` if its verdict came.
    pub(super) broken: Option<String>,
    /// Whether this is taken for QEMU's doing: one of its processors got no more interrupts of its timer, or the guest never wrote
    /// a byte.
    pub(super) emulator_fault: bool,
}

pub(super) fn run(mut command: Command, limit: Duration, mut show: impl FnMut(&Report)) -> Result<Outcome> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A folder with a short name: a socket's path has 107 bytes at most.
    let folder = tempfile::tempdir().context("cannot make a folder for QEMU's monitor")?;
    let monitor = folder.path().join("monitor");
    let mut child = command
        .arg("-monitor")
        .arg(format!("unix:{},server=on,wait=off", monitor.display()))
        .spawn()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    let (sender, lines) = mpsc::channel();
    let (console, reports) = (child.stdout.take(), child.stderr.take());
    console.into_iter().for_each(|pipe| read_lines(pipe, sender.clone()));
    reports.into_iter().for_each(|pipe| read_lines(pipe, sender.clone()));
    drop(sender);
    let mut watch = Watch::new(Instant::now(), process::limited(limit));
    while let Some(left) = watch.time_left(Instant::now()) {
        match lines.recv_timeout(left).map(|line| (Report::from_line(&line), line)) {
            Ok((Some(report), _)) => {
                show(&report);
                watch.report(&report, Instant::now());
            }
            // QEMU's own complaints are among them.
            Ok((None, line)) => watch.console_line(&line, Instant::now()),
            Err(RecvTimeoutError::Timeout) => (),
            Err(RecvTimeoutError::Disconnected) => {
                watch.ended = true;
                break;
            }
        }
    }
    if watch.has_lost_timer() {
        let answer = local_apics(&monitor);
        watch.evidence = Some(answer.unwrap_or_else(|error| format!("QEMU's monitor does not answer: {error}")));
    }
    let _ = child.kill();
    let _ = child.wait();
    Ok(watch.outcome())
}

/// What QEMU reports about the local APICs of a guest whose kernel has lost its timer: whether each processor's timer is set, and what keeps its
/// interrupt from it. A guest has two processors. It ends the guest, which would be killed anyway.
fn local_apics(monitor: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(monitor)?;
    stream.set_read_timeout(Some(MONITOR_TIMEOUT))?;
    stream.write_all(b"info lapic 0\ninfo lapic 1\nquit\n")?;
    io::read_to_string(stream)
}

/// The end of a guest ends its pipes, and with them these threads.
fn read_lines(pipe: impl Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        let lines = BufReader::new(pipe).split(b'\n').map_while(Result::ok);
        lines.map(|line| String::from_utf8_lossy(&line).into_owned()).try_for_each(|line| to.send(line))
    });
}

/// What is known of a running guest. Pure: the time is passed in.
struct Watch {
    deadline: Instant,
    limit_end: Instant,
    limit: Duration,
    console: Console,
    running: Option<String>,
    outcome: Outcome,
    /// Tests that the guest announced; `None` before its first report.
    planned: Option<usize>,
    verdict: bool,
    broken: Option<String>,
    /// QEMU's report about a guest that has lost its timer.
    evidence: Option<String>,
    ended: bool,
}

impl Watch {
    fn new(start: Instant, limit: Duration) -> Self {
        Self {
            deadline: start + BOOT_LIMIT.min(limit),
            limit_end: start + limit,
            limit,
            console: Console::default(),
            running: None,
            outcome: Outcome::default(),
            planned: None,
            verdict: false,
            broken: None,
            evidence: None,
            ended: false,
        }
    }

    fn has_lost_timer(&self) -> bool {
        self.console.fault() == Some(LOST_TIMER)
    }

    /// None once the guest's time is over.
    fn time_left(&self, now: Instant) -> Option<Duration> {
        self.deadline.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    fn console_line(&mut self, line: &str, now: Instant) {
        if self.console.feed(line) {
            self.deadline = self.deadline.min(now + LAST_WORDS);
        }
    }

    fn report(&mut self, report: &Report, now: Instant) {
        match report {
            Report::Ready { tests, .. } => {
                self.planned = Some(*tests);
                self.deadline = self.limit_end;
            }
            Report::Started { name } => self.running = Some(name.clone()),
            Report::Passed { .. } | Report::Failed { .. } => {
                self.running = None;
                let is_passed = matches!(report, Report::Passed { .. });
                *if is_passed { &mut self.outcome.passed } else { &mut self.outcome.failed } += 1;
            }
            Report::Verdict { .. } => {
                self.verdict = true;
                self.deadline = now + POWER_OFF_LIMIT;
            }
            Report::Broken { why } => self.broken = Some(why.clone()),
            _ => (),
        }
    }

    fn outcome(mut self) -> Outcome {
        let is_silent = self.console.tail.is_empty() && self.planned.is_none() && !self.ended;
        self.outcome.emulator_fault = self.has_lost_timer() || is_silent;
        if let Some(why) = self.complaint() {
            let during = self.running.as_ref().map_or_else(String::new, |name| format!(" during {name}"));
            let begun = self.outcome.passed + self.outcome.failed + usize::from(self.running.is_some());
            let never = match self.planned.map(|planned| planned.saturating_sub(begun)) {
                Some(count @ 1..) => format!("; {count} more tests did not run"),
                Some(0) | None => String::new(),
            };
            // What was asked comes back letter by letter.
            let evidence =
                self.evidence.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with("(qemu)"));
            let tail = self
                .console
                .tail
                .iter()
                .map(String::as_str)
                .chain(evidence)
                .fold(String::new(), |text, line| text + "\n    " + line);
            self.outcome.broken = Some(format!("{why}{during}{never}; the console's end:{tail}"));
            self.outcome.failed += 1;
        }
        self.outcome
    }

    /// What is wrong with the guest itself, the most important first.
    fn complaint(&self) -> Option<String> {
        let fault = self.console.fault().map(str::to_owned);
        fault.or_else(|| self.broken.clone()).or_else(|| match (self.verdict, self.ended, self.planned) {
            (true, ..) => None,
            (_, true, _) => Some("the guest ended without a verdict".to_owned()),
            (.., Some(_)) => Some(format!("no verdict within the guest's limit of {} s", self.limit.as_secs())),
            (.., None) => Some(format!("no sign of life within {} s", BOOT_LIMIT.as_secs())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(600);

    /// A guest that announced three tests and started one, if it did.
    fn watch(has_started: bool) -> (Watch, Instant) {
        let start = Instant::now();
        let mut watch = Watch::new(start, LIMIT);
        if has_started {
            watch.report(&Report::Ready { release: "6.1".to_owned(), tests: 3 }, start);
            watch.report(&Report::Started { name: "a::b".to_owned() }, start);
        }
        (watch, start)
    }

    #[test]
    fn a_guest_is_good_with_its_verdict_alone() {
        let (mut good, start) = watch(true);
        good.report(&Report::Passed { name: "a::b".to_owned(), duration_ms: 1 }, start);
        good.report(&Report::Verdict { passed: 1, failed: 0 }, start);
        let outcome = good.outcome();
        assert_eq!((outcome.passed, outcome.failed, outcome.broken), (1, 0, None));
        let (mut ended, _) = watch(true);
        ended.ended = true;
        let outcome = ended.outcome();
        let why = outcome.broken.unwrap();
        assert!(why.contains("without a verdict during a::b; 2 more tests did not run;"), "{why}");
        assert_eq!(outcome.failed, 1);
    }

    #[test]
    fn guest_that_never_writes_a_byte_is_the_emulators_fault() {
        assert!(watch(false).0.outcome().emulator_fault);
        let (mut booting, start) = watch(false);
        booting.console_line("[    0.0] Linux version 7.3", start);
        assert!(!booting.outcome().emulator_fault);
        assert!(!watch(true).0.outcome().emulator_fault);
        let (mut ended, _) = watch(false);
        ended.ended = true;
        assert!(!ended.outcome().emulator_fault);
    }

    #[test]
    fn fault_shortens_the_guests_time_and_counts_beside_a_verdict() {
        let (mut watch, start) = watch(true);
        assert_eq!(watch.time_left(start), Some(LIMIT));
        watch.console_line("[    5.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!\r\n", start);
        assert_eq!(watch.time_left(start), Some(LAST_WORDS));
        watch.report(&Report::Verdict { passed: 1, failed: 0 }, start);
        let why = watch.outcome().broken.unwrap();
        assert!(why.starts_with("a soft lock-up during a::b") && why.contains("stuck for 22s!"), "{why}");
    }

    #[test]
    fn what_qemu_says_of_a_lost_timer_is_in_the_failure() {
        let (mut watch, start) = watch(true);
        for line in [
            "[   22.4] rcu: \t0-...!: (0 ticks this GP) idle=2818/0/0x0 softirq=33/33 fqs=0\r\n",
            "[   22.4] rcu: \tPossible timer handling issue on cpu=0 timer-softirq=8\r\n",
        ] {
            assert!(!watch.has_lost_timer());
            watch.console_line(line, start);
        }
        assert!(watch.has_lost_timer());
        watch.evidence = Some("LVTT 0x00010000 masked\n".to_owned());
        let outcome = watch.outcome();
        assert!(outcome.emulator_fault && outcome.broken.unwrap().ends_with("\n    LVTT 0x00010000 masked"));
    }

    #[test]
    fn the_monitor_is_asked_for_both_apics() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("monitor");
        assert!(local_apics(&path).is_err());
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let qemu = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let asked = asked.by_ref().take(3).collect::<Vec<_>>();
            stream.write_all(b"dumping local APIC state for CPU 0 \r\n").unwrap();
            asked
        });
        assert!(local_apics(&path).unwrap().contains("dumping local APIC state for CPU 0"));
        assert_eq!(qemu.join().unwrap(), ["info lapic 0", "info lapic 1", "quit"]);
    }

    #[test]
    fn silence_ends_at_the_boot_limit_and_work_at_the_guests() {
        let (quiet, start) = watch(false);
        assert_eq!(quiet.time_left(start + BOOT_LIMIT), None);
        assert!(quiet.outcome().broken.unwrap().contains("no sign of life"));
        let (busy, start) = watch(true);
        assert_eq!(busy.time_left(start + LIMIT), None);
        assert!(busy.outcome().broken.unwrap().contains("limit of 600 s"));
    }
}
