//! How things are: the only place that knows it, on independent axes. What the guard judges by is in [`Guard`]. No I/O.

use super::failure::Degraded;
use crate::guard::{Guard, SelfTest};
use crate::model::event::{Blind, GuardState};
use crate::model::policy::{Mode, OnAgentExit};
use crate::model::status::{AgentPhase, GuardStatus};

/// Whether the agent observes libnvdimm.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Observation {
    /// libnvdimm is not loaded.
    Waiting,
    Observing,
    Blind(String),
}

/// Whether the guard's program is in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
enum GuardPresence {
    None(String),
    Attached,
    /// It stays without the agent; while the agent observes it is attached as well.
    Pinned,
}

pub(super) struct AgentState {
    phase: AgentPhase,
    /// `None` while it is not known: at the start, and between a detachment and what follows.
    observation: Option<Observation>,
    was_attached: bool,
    guard: GuardPresence,
    self_test: Result<SelfTest, String>,
    pub(super) degraded: Degraded,
    /// The guard's state that was reported last.
    reported: Option<GuardState>,
}

impl AgentState {
    pub(super) fn new() -> Self {
        Self {
            phase: AgentPhase::Starting,
            observation: None,
            was_attached: false,
            guard: GuardPresence::None("nothing is attached yet".to_owned()),
            self_test: Err("no self-test was tried yet".to_owned()),
            degraded: Degraded::default(),
            reported: None,
        }
    }

    /// The first attachment has succeeded, or is not to be expected soon.
    pub(super) fn on_started(&mut self) {
        if self.phase == AgentPhase::Starting {
            self.phase = AgentPhase::Running;
        }
    }

    pub(super) const fn set_phase(&mut self, phase: AgentPhase) {
        self.phase = phase;
    }

    pub(super) const fn phase(&self) -> AgentPhase {
        self.phase
    }

    /// The programs are attached. `guard_off`: why the guard's is not among them. `stays`: whether they are pinned. Returns whether it
    /// is this agent's first attachment.
    pub(super) fn on_attached(&mut self, guard_off: Option<String>, stays: bool) -> bool {
        self.observation = Some(Observation::Observing);
        self.guard = match guard_off {
            Some(reason) => GuardPresence::None(reason),
            None if stays => GuardPresence::Pinned,
            None => GuardPresence::Attached,
        };
        !std::mem::replace(&mut self.was_attached, true)
    }

    /// The programs are detached. `stays`: whether a guard is pinned.
    pub(super) fn on_detached(&mut self, stays: bool) {
        let reason = "the programs are detached";
        // A failed attempt to attach leaves it as it was.
        self.observation.take_if(|known| *known == Observation::Observing);
        self.self_test = Err(reason.to_owned());
        self.guard = if stays { GuardPresence::Pinned } else { GuardPresence::None(reason.to_owned()) };
    }

    /// A guard of an earlier agent is pinned.
    pub(super) fn on_pinned_guard(&mut self) {
        self.guard = GuardPresence::Pinned;
    }

    /// The pins are removed: the guard is as long in the kernel as the agent has it attached.
    pub(super) fn on_released(&mut self) {
        if self.guard == GuardPresence::Pinned {
            self.guard = if self.is_observing() {
                GuardPresence::Attached
            } else {
                GuardPresence::None("the guard was released".to_owned())
            };
        }
    }

    /// libnvdimm is not loaded. Returns whether that is news.
    pub(super) fn set_waiting(&mut self) -> bool {
        if self.guard != GuardPresence::Pinned {
            self.guard = GuardPresence::None("libnvdimm is not loaded".to_owned());
        }
        self.observation.replace(Observation::Waiting) != Some(Observation::Waiting)
    }

    /// The programs cannot be attached, or are gone. Returns the report, if the reason is news.
    pub(super) fn set_blind(&mut self, reason: String) -> Option<Blind> {
        let blind = Some(Observation::Blind(reason.clone()));
        let is_news = self.observation != blind;
        self.observation = blind;
        is_news.then_some(Blind { reason })
    }

    pub(super) fn is_observing(&self) -> bool {
        self.observation == Some(Observation::Observing)
    }

    /// Whether there is nothing to observe, since libnvdimm is not loaded.
    pub(super) fn is_waiting(&self) -> bool {
        self.observation == Some(Observation::Waiting)
    }

    /// Whether the agent does all that it can on this host.
    pub(super) fn is_ready(&self) -> bool {
        self.is_observing() || self.is_waiting()
    }

    /// Why the agent does not observe.
    pub(super) fn reason(&self) -> Option<String> {
        match &self.observation {
            Some(Observation::Blind(reason)) => Some(reason.clone()),
            Some(Observation::Waiting) => Some("libnvdimm is not loaded".to_owned()),
            None => Some("the agent starts".to_owned()),
            Some(Observation::Observing) => None,
        }
    }

    /// The observation in a few words, for the service manager.
    pub(super) fn describe(&self, release: &str) -> String {
        match &self.observation {
            Some(Observation::Observing) => format!("observing Linux {release}"),
            Some(Observation::Blind(reason)) => format!("blind: {reason}"),
            Some(Observation::Waiting) => {
                "idle: no namespace can have a memmap, since libnvdimm is not loaded; waiting for it".to_owned()
            }
            None => "starting".to_owned(),
        }
    }

    pub(super) fn set_self_test(&mut self, result: anyhow::Result<SelfTest>) {
        self.self_test = result.map_err(|error| format!("{error:#}"));
    }

    /// The last self-test, if it succeeded.
    pub(super) fn self_test(&self) -> Option<&SelfTest> {
        self.self_test.as_ref().ok()
    }

    /// Whether the guard's program is attached, by this agent or by its pins.
    pub(super) const fn is_guard_present(&self) -> bool {
        matches!(self.guard, GuardPresence::Attached | GuardPresence::Pinned)
    }

    /// Whether the guard knows the blocks that there are, and what this kernel reserves for each page.
    pub(super) fn is_armed(&self, guard: &Guard) -> bool {
        self.is_guard_present() && guard.not_armed_reason().is_none()
    }

    /// Why the guard judges no creation now; `None` if it does.
    pub(super) fn not_judging_reason(&self, guard: &Guard) -> Option<String> {
        if let GuardPresence::None(reason) = &self.guard {
            return Some(reason.clone());
        }
        if !guard.has_blocks()
            && let Some(reason) = self.reason()
        {
            return Some(format!("{reason}: the pinned guard is disarmed, it allows and counts"));
        }
        guard.not_armed_reason().or_else(|| self.self_test.as_ref().err().cloned())
    }

    /// Why an oversize creation would not be refused now; `None` if it would. Status, metrics, page, alerts, the service manager and
    /// `pfnwatch mode enforce` all ask this.
    pub(super) fn ineffective_reason(&self, guard: &Guard) -> Option<String> {
        let is_audit = guard.policy().mode == Mode::Audit;
        self.not_judging_reason(guard).or_else(|| is_audit.then(|| "the mode is audit".to_owned()))
    }

    /// The guard for `pfnwatch status`.
    pub(super) fn guard_status(&self, guard: &Guard) -> GuardStatus {
        let reason = self.not_judging_reason(guard);
        GuardStatus {
            attached: self.is_guard_present(),
            pinned: self.guard == GuardPresence::Pinned,
            armed: self.is_armed(guard),
            judges: reason.is_none(),
            reason,
        }
    }

    /// The guard's state, if it is not the one that this returned last.
    pub(super) fn guard_change(&mut self, guard: &Guard, pins: Vec<String>) -> Option<GuardState> {
        let is_held = self.is_guard_present() && guard.policy().on_agent_exit == OnAgentExit::Hold;
        let lost = (is_held && pins.is_empty())
            .then(|| "its pins are gone: the guard ends with the agent, or with its next start".to_owned());
        let GuardStatus { attached, pinned, armed, judges, reason } = self.guard_status(guard);
        let state = GuardState {
            mode: guard.policy().mode,
            configured_mode: guard.configured_mode(),
            attached,
            pinned,
            armed,
            judges,
            enforcement_effective: self.ineffective_reason(guard).is_none(),
            reason: reason.or(lost),
            pins,
        };
        (self.reported.as_ref() != Some(&state)).then(|| self.reported.insert(state).clone())
    }
}
