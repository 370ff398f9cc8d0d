//! Whether the guard guards.

use std::time::{Duration, SystemTime};

use super::{Guard, SelfTest};
use crate::model::{event::GuardState, policy::OnAgentExit};

impl Guard {
    /// What came of the last proof.
    pub fn set_self_test(&mut self, proved: anyhow::Result<SelfTest>) {
        self.self_test = proved.map_err(|error| format!("{error:#}"));
    }

    /// The last proof, where it held.
    #[must_use]
    pub fn self_test(&self) -> Option<&SelfTest> {
        self.self_test.as_ref().ok()
    }

    /// Whether the program is attached.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        self.maps.is_some() && self.off_reason.is_none()
    }

    /// Whether it judges.
    #[must_use]
    pub const fn is_armed(&self) -> bool {
        self.is_attached() && self.armed && self.kernel.max_struct_page.is_some()
    }

    /// Why a denial would not be effective; none where it would.
    #[must_use]
    pub fn ineffective_reason(&self) -> Option<String> {
        self.off_reason.clone().or_else(|| self.self_test.as_ref().err().cloned())
    }

    /// Why it does not judge; none where it does.
    #[must_use]
    pub fn not_armed_reason(&self) -> Option<String> {
        if let Some(off) = &self.off_reason {
            return Some(off.clone());
        }
        if !self.armed {
            return Some("what info blocks there are is not known yet".to_owned());
        }
        let unknown = "what this kernel reserves for each page (MAX_STRUCT_PAGE_SIZE) is not known";
        self.kernel.max_struct_page.is_none().then(|| unknown.to_owned())
    }

    /// How it stands, where that is not what was told last.
    pub fn state_change(&mut self, pins: Vec<String>) -> Option<GuardState> {
        let held = self.is_attached() && self.policy.on_agent_exit == OnAgentExit::Hold;
        let lost = (held && pins.is_empty())
            .then(|| "its pins are gone: the guard ends with the agent, or with its next start".to_owned());
        let state = GuardState {
            mode: self.policy.mode,
            attached: self.is_attached(),
            armed: self.is_armed(),
            enforcement_effective: self.ineffective_reason().is_none(),
            reason: self.ineffective_reason().or_else(|| self.not_armed_reason()).or(lost),
            pins,
        };
        (self.reported.as_ref() != Some(&state)).then(|| self.reported.insert(state).clone())
    }

    /// The wall-clock time of a point of time since boot.
    #[must_use]
    pub fn wall_time(&self, boot_ns: u64) -> Option<SystemTime> {
        let ahead = Duration::from_nanos(boot_ns.saturating_sub(self.clock.boot_ns()));
        self.clock.wall().checked_add(ahead)
    }

    /// How long it is until a point of time since boot, in nanoseconds; 0 where it has passed.
    #[must_use]
    pub fn remaining_ns(&self, boot_ns: u64) -> u64 {
        super::now().map_or(0, |(_, now)| boot_ns.saturating_sub(now))
    }
}
