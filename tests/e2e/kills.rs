//! Fifty agents are killed at random moments during a stream of events: what each has printed is in its store, once,
//! and nothing of it stays in the kernel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};
use guest::agent::{Agent, has_text};
use guest::bpf::HeldObjects;
use guest::creation::{self, Mode, NamespaceSpec};
use guest::events::{number, numbered, written};
use guest::guard::request_at;
use guest::policy::{self, GuardMode, Policy};
use guest::{MIB, modules, namespace, regions};
use serde_json::{Value, json};

/// While libnvdimm is loaded: the guard is attached, and namespaces are enabled and disabled.
const KILLS_OF_GUARDS: usize = 5;
/// While it is not: an agent starts in a fraction of the time. Several series of agents run in parallel, each with its
/// store.
const KILLS_OF_OTHERS: usize = 45;
const LINES: usize = 3;
/// A busy host is slow: after this time the test accepts fewer kills.
const KILLING: Duration = Duration::from_secs(90);
const MIN_KILLS: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Repeats an action in a thread, until it is dropped.
struct Stream {
    go_on: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    fn of(act: impl Fn() -> Result<()> + Send + 'static) -> Self {
        let go_on = Arc::new(AtomicBool::new(true));
        let wanted = Arc::clone(&go_on);
        let thread = thread::spawn(move || {
            while wanted.load(Ordering::Relaxed) {
                if act().is_err() {
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
        Self { go_on, thread: Some(thread) }
    }

    /// Sets the mode, whether an agent listens or not: each time is an event.
    fn of_modes(socket: String) -> Self {
        Self::of(move || request_at(&socket, &json!({ "mode": { "mode": "audit", "reason": "a test" } })).map(drop))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.go_on.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The microseconds of the clock are random enough.
fn odd() -> Result<u64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.subsec_micros().into())
}

/// Agents one after the other, with the same event store and the same socket.
struct Line {
    store: String,
    socket: String,
    reported: Vec<Value>,
    kills: usize,
    /// The longest time that an agent took to become ready.
    start: Duration,
}

impl Line {
    fn new(number: usize) -> Self {
        let place = |what: &str| format!("/run/kills-{number}/{what}");
        Self {
            store: place("pfnwatch.db"),
            socket: place("control.sock"),
            reported: Vec::new(),
            kills: 0,
            start: Duration::ZERO,
        }
    }

    fn spawn(&self) -> Result<Agent> {
        Agent::spawn(&["--config", policy::PATH, "--control-socket", &self.socket, "--store", &self.store])
    }

    /// Starts an agent, and kills it some events later, once it has reported a namespace.
    fn kill_one_that_observes(&mut self) -> Result<()> {
        let mut agent = self.spawn()?;
        agent.event("a set-up", TIMEOUT, |event| has_text(event, "event", "set_up").then_some(()))?;
        thread::sleep(Duration::from_millis(odd()? % 500));
        self.end(agent)
    }

    /// Starts an agent, and kills it: from before its first event to the middle of the stream.
    fn kill_one(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut agent = self.spawn()?;
        if self.kills == 0 {
            agent.ready()?;
            self.start = begun.elapsed();
        }
        let moment = self.start.mul_f64(1.5 * f64::from(u16::try_from(odd()? % 1000)?) / 1000.0);
        thread::sleep(moment.saturating_sub(begun.elapsed()));
        let (lived, before) = (begun.elapsed(), self.reported.len());
        self.end(agent)?;
        if !self.reported.iter().skip(before).any(|event| has_text(event, "event", "ready")) {
            self.start = self.start.max(lived);
        }
        Ok(())
    }

    fn end(&mut self, mut agent: Agent) -> Result<()> {
        agent.kill()?;
        self.reported.extend(agent.remaining_events());
        self.kills += 1;
        Ok(())
    }

    /// Whatever was printed is in the store unchanged, once.
    fn is_whole(&self) -> Result<()> {
        let written = written(&["--store", &self.store])?;
        let written = numbered(&written)?;
        let changes = self.reported.iter().filter(|event| has_text(event, "event", "mode_changed")).count();
        ensure!(changes > self.kills / 2, "no stream: {changes} changes in {} lives", self.kills);
        let mut numbers: Vec<u64> = Vec::new();
        for event in &self.reported {
            let number = number(event).with_context(|| format!("reported uncommitted: {event}"))?;
            ensure!(written.get(&number) == Some(&event), "{event} is not in the event store as it was reported");
            numbers.push(number);
        }
        ensure!(numbers.is_sorted_by(|one, next| one < next), "a number was reported twice: {numbers:?}");
        Ok(())
    }
}

/// Guards during binds and unbinds. After each nothing of it is left, so that nothing is denied or observed any more.
fn guards(region: &str) -> Result<Line> {
    let wanted = NamespaceSpec::new(region, Mode::Fsdax, 64 * MIB);
    let made = creation::create(&wanted)?.namespace;
    let (mut line, before) = (Line::new(0), HeldObjects::look()?);
    let modes = Stream::of_modes(line.socket.clone());
    let binds = Stream::of(move || {
        namespace::disable(&made)?;
        namespace::enable(&made).map(drop)
    });
    let begun = Instant::now();
    while line.kills < KILLS_OF_GUARDS && begun.elapsed() < KILLING / 2 {
        line.kill_one_that_observes()?;
        HeldObjects::until_nothing_beyond(&before, TIMEOUT)?;
    }
    drop((modes, binds));
    Ok(line)
}

fn waiting(number: usize, kills: &AtomicUsize, end: Instant) -> Result<Line> {
    let mut line = Line::new(number);
    let _modes = Stream::of_modes(line.socket.clone());
    while Instant::now() < end && kills.fetch_add(1, Ordering::Relaxed) < KILLS_OF_OTHERS {
        line.kill_one()?;
    }
    Ok(line)
}

#[test]
fn what_fifty_agents_told_before_they_were_killed_is_written_once() -> Result<()> {
    let region = regions::fresh()?.first;
    Policy::strict(GuardMode::Audit).write()?;
    let begun = Instant::now();
    let mut lines = vec![guards(&region)?];
    let guarded = begun.elapsed();
    modules::unload_stack()?;
    let (others, end) = (AtomicUsize::new(0), begun + KILLING);
    thread::scope(|scope| {
        let threads: Vec<_> = (1..=LINES)
            .map(|number| {
                let others = &others;
                scope.spawn(move || waiting(number, others, end))
            })
            .collect();
        for thread in threads {
            lines.push(thread.join().map_err(|_| anyhow!("a line of agents panicked"))??);
        }
        anyhow::Ok(())
    })?;
    modules::load_stack()?;
    let kills: usize = lines.iter().map(|line| line.kills).sum();
    let reported: usize = lines.iter().map(|line| line.reported.len()).sum();
    eprintln!("{kills} kills in {:?} ({guarded:?} of guards), {reported} events reported", begun.elapsed());
    ensure!(kills >= MIN_KILLS, "{kills} kills in {KILLING:?} prove little");
    lines.iter().try_for_each(Line::is_whole)
}
