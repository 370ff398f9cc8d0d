//! Whether the agent observes libnvdimm, with which programs, and what they lost.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use pfnwatch_common::{counter::Counter, layout::Layout, names};

use crate::{
    bpf::{pins::Pins, sensor::AttachedPrograms},
    kernel::{
        btf::Btf,
        features::{ftrace_armed, kprobes_armed},
        prerequisites::disarmed,
    },
    model::{
        event::{Blind, LostRecords, ProgramState, RecordTotals},
        view::ProgramRuns,
    },
    os::paths::Paths,
};

/// How often the counters are read while records come.
const LOSS_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The state that was reported last: it is not reported again.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Starting,
    /// libnvdimm is not loaded.
    Idle,
    Observing,
    Blind(String),
}

/// The programs in the kernel, while there are any, and the state that follows from them.
pub(super) struct Observation {
    state: State,
    sensor: Option<AttachedPrograms>,
    /// The kernel's types, if they were read before the first attachment.
    types: Option<Btf>,
    totals: RecordTotals,
    losses_read_at: Instant,
}

impl Observation {
    pub(super) fn new() -> Self {
        Self {
            state: State::Starting,
            sensor: None,
            types: None,
            totals: RecordTotals::default(),
            losses_read_at: Instant::now(),
        }
    }

    /// Has the first attachment use these types, so that they are read once.
    pub(super) fn set_types(&mut self, types: Option<Btf>) {
        self.types = types;
    }

    pub(super) const fn take_types(&mut self) -> Option<Btf> {
        self.types.take()
    }

    /// The programs are attached.
    pub(super) fn start(&mut self, programs: AttachedPrograms) {
        self.sensor = Some(programs);
        self.state = State::Observing;
    }

    /// Gives the programs away, to be detached.
    pub(super) const fn take_programs(&mut self) -> Option<AttachedPrograms> {
        self.sensor.take()
    }

    /// libnvdimm is not loaded. Returns whether that is news.
    pub(super) fn set_idle(&mut self) -> bool {
        // It may be long until libnvdimm is loaded.
        self.types = None;
        std::mem::replace(&mut self.state, State::Idle) != State::Idle
    }

    /// The programs cannot be attached, or are gone. Returns the report, if the reason is news.
    pub(super) fn set_blind(&mut self, reason: String) -> Option<Blind> {
        let state = State::Blind(reason.clone());
        (std::mem::replace(&mut self.state, state) != self.state).then_some(Blind { reason })
    }

    /// Whether nothing was attempted yet.
    pub(super) fn is_starting(&self) -> bool {
        self.state == State::Starting
    }

    /// Whether there is nothing to observe, since libnvdimm is not loaded.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether programs are attached.
    pub(super) const fn is_attached(&self) -> bool {
        self.sensor.is_some()
    }

    /// Whether the agent does all that it can on this host.
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.state, State::Observing | State::Idle)
    }

    /// Why the agent does not observe.
    pub(super) fn reason(&self) -> Option<String> {
        match &self.state {
            State::Blind(reason) => Some(reason.clone()),
            State::Idle | State::Starting => Some("libnvdimm is not loaded".to_owned()),
            State::Observing => None,
        }
    }

    /// The state in a few words, for the service manager.
    pub(super) fn describe(&self, release: &str) -> String {
        match &self.state {
            State::Observing => format!("observing Linux {release}"),
            State::Blind(reason) => format!("blind: {reason}"),
            State::Idle | State::Starting => "idle: libnvdimm is not loaded; waiting for it".to_owned(),
        }
    }

    /// Waits for records; for ever while nothing is attached. It can be cancelled at any time.
    pub(super) async fn wait(&mut self, batch: &mut Vec<Bytes>) -> io::Result<()> {
        match &mut self.sensor {
            Some(programs) => programs.wait(batch).await,
            None => std::future::pending().await,
        }
    }

    /// Counts a record that was received.
    pub(super) const fn count_record(&mut self, is_decoded: bool) {
        self.totals.received += 1;
        if !is_decoded {
            self.totals.decode_errors += 1;
        }
    }

    /// What was received and lost since the agent started.
    pub(super) const fn totals(&self) -> RecordTotals {
        self.totals
    }

    /// Whether the counters were read a moment ago. A look-up in a map holds this CPU's probes off (they are skipped where a
    /// task that is probed comes in between, `trace_call_bpf` in kernel/trace/bpf_trace.c), so that a burst should not cause many.
    pub(super) fn has_read_losses(&self) -> bool {
        self.losses_read_at.elapsed() < LOSS_REPORT_INTERVAL
    }

    /// Removes what has never ended from the tables of the programs.
    pub(super) fn sweep(&mut self) {
        if let Some(Err(error)) = self.sensor.as_mut().map(AttachedPrograms::sweep) {
            tracing::warn!("what has never ended cannot be counted: {error:#}");
        }
    }

    /// What the attached programs have lost since this was called the last time, if anything.
    ///
    /// # Errors
    /// The counters cannot be read.
    pub(super) fn take_losses(&mut self) -> anyhow::Result<Option<LostRecords>> {
        let Some(mut programs) = self.sensor.take() else { return Ok(None) };
        let losses = self.losses_of(&mut programs);
        self.sensor = Some(programs);
        losses
    }

    /// The same for programs that are detached by now.
    ///
    /// # Errors
    /// The counters cannot be read.
    pub(super) fn losses_of(&mut self, programs: &mut AttachedPrograms) -> anyhow::Result<Option<LostRecords>> {
        self.losses_read_at = Instant::now();
        let missed = programs.missed()?;
        self.totals.missed.add(missed);
        Ok((!missed.is_nothing()).then_some(missed))
    }

    /// How often the guard's program ran while the kernel counted; `None` if no programs are attached.
    pub(super) fn guard_run_count(&self) -> Option<impl Fn() -> anyhow::Result<u64>> {
        let programs = self.sensor.as_ref()?;
        Some(|| programs.run_count(names::GUARD))
    }

    /// Where the members of kernel structures are, as the programs were loaded.
    pub(super) fn layout(&self) -> Option<Layout> {
        self.sensor.as_ref().map(|programs| programs.layout)
    }

    /// What is pinned of the guard in force.
    pub(super) fn pins(&self) -> Vec<String> {
        self.sensor.as_ref().map(|programs| Pins::system().links_of(programs.guard_id)).unwrap_or_default()
    }

    /// Every program, attached or not; empty while nothing is observed.
    pub(super) fn programs(&self) -> Vec<ProgramState> {
        self.sensor.as_ref().map(|programs| programs.programs.clone()).unwrap_or_default()
    }

    /// The counters of the programs by name; empty while nothing is observed.
    pub(super) fn counters(&self) -> BTreeMap<String, u64> {
        let Some(totals) = self.sensor.as_ref().and_then(|programs| programs.totals().ok()) else {
            return BTreeMap::new();
        };
        Counter::ALL.iter().map(|counter| (counter.name().to_owned(), totals.get(*counter))).collect()
    }

    /// What the kernel counts of the programs. What they cost only if this host has it count that: the agent does not turn it on.
    pub(super) fn program_runs(&self, procfs: &Path) -> Vec<ProgramRuns> {
        let is_counted =
            std::fs::read_to_string(procfs.join("sys/kernel/bpf_stats_enabled")).is_ok_and(|text| text.trim() == "1");
        match &self.sensor {
            Some(programs) => programs.runs(is_counted),
            None => Vec::new(),
        }
    }
}

/// Why probes would not fire here, and what to do.
pub(super) fn probes_disabled_reason(paths: &Paths) -> Option<String> {
    let Paths { sysfs, procfs } = paths;
    let (cause, remedy) = disarmed(kprobes_armed(sysfs), ftrace_armed(procfs))?;
    Some(format!("{cause} (`{remedy}`)"))
}
