//! Who set what is in force, and when.

use std::time::SystemTime;

use crate::guard::Guard;
use crate::model::policy::ModeSource;
use crate::model::status::{ModeStatus, PolicyStatus};
use crate::model::thresholds::Thresholds;
use crate::model::timestamp::Timestamp;

/// When the agent started, who set the mode, and which configuration is in force.
pub(super) struct RuntimeInfo {
    started: SystemTime,
    mode_since: SystemTime,
    mode_by: String,
    mode_reason: Option<String>,
    /// [`Loaded::hash`](crate::config::Loaded).
    config_hash: String,
    /// The configuration's files, for people.
    config_files: Option<String>,
    policy_since: SystemTime,
    reload_error: Option<String>,
}

impl RuntimeInfo {
    pub(super) fn new(config_hash: String, config_files: Option<String>, now: SystemTime) -> Self {
        Self {
            started: now,
            mode_since: now,
            mode_by: "the configuration".to_owned(),
            mode_reason: None,
            config_hash,
            config_files,
            policy_since: now,
            reload_error: None,
        }
    }

    /// Another configuration is in force. Its mode is, too, unless a person has set another one.
    pub(super) fn on_reloaded(
        &mut self,
        config_hash: String,
        config_files: Option<String>,
        mode_source: ModeSource,
        now: SystemTime,
    ) {
        let new = Self::new(config_hash, config_files, now);
        let mut before = std::mem::replace(self, new);
        self.started = before.started;
        if mode_source == ModeSource::Person {
            self.mode_since = before.mode_since;
            std::mem::swap(&mut self.mode_by, &mut before.mode_by);
            self.mode_reason = before.mode_reason;
        }
    }

    /// The guard of an earlier agent is continued with.
    pub(super) fn on_adopted(&mut self, mode_source: ModeSource, now: SystemTime) {
        if mode_source == ModeSource::Person {
            self.on_mode_changed("a person, while an earlier agent ran".to_owned(), None, now);
        }
    }

    /// The configuration was rejected: the earlier one stays in force.
    pub(super) fn on_reload_failed(&mut self, error: String) {
        self.reload_error = Some(error);
    }

    pub(super) fn on_mode_changed(&mut self, by: String, reason: Option<String>, now: SystemTime) {
        (self.mode_since, self.mode_by, self.mode_reason) = (now, by, reason);
    }

    pub(super) const fn started(&self) -> SystemTime {
        self.started
    }

    pub(super) fn config_files(&self) -> Option<String> {
        self.config_files.clone()
    }

    /// Whether the last reload failed.
    pub(super) const fn has_reload_failed(&self) -> bool {
        self.reload_error.is_some()
    }

    pub(super) fn mode_status(&self, guard: &Guard) -> ModeStatus {
        ModeStatus {
            mode: guard.policy().mode,
            since: Timestamp::from(self.mode_since),
            source: guard.mode_source(),
            configured_mode: guard.configured_mode(),
            by: self.mode_by.clone(),
            reason: self.mode_reason.clone(),
        }
    }

    pub(super) fn policy_status(&self, number: u64, thresholds: Thresholds) -> PolicyStatus {
        PolicyStatus {
            hash: self.config_hash.clone(),
            number,
            file: self.config_files.clone(),
            since: Timestamp::from(self.policy_since),
            reload_error: self.reload_error.clone(),
            aligns: thresholds.aligns,
            parts_per_million: thresholds.parts_per_million,
            reference_struct_page_bytes: thresholds.reference_struct_page,
        }
    }
}
