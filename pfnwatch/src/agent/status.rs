//! How things stand, for `pfnwatch status`.

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, SystemTime},
};

use pfnwatch_common::counter::Counter;

use super::{Agent, AgentState};
use crate::{
    model::{
        control::{
            AgentStatus, ExemptionOrigin, ExemptionStatus, GuardStatus, ModeStatus, PolicyStatus, SelfTestStatus,
            SkippedExemptionStatus, Status,
        },
        event::Time,
        policy::{Exemption, Grant},
    },
    os::memory_trim,
    policy::SkipReason,
};

impl<W: Write> Agent<W> {
    /// How things stand now.
    pub(super) fn status(&self) -> Status {
        let policy = self.guard.policy();
        let ineffective = self.guard.ineffective_reason();
        Status {
            agent: self.agent_status(),
            mode: ModeStatus {
                mode: policy.mode,
                since: Time(self.runtime_info.mode_since).seconds().to_string(),
                by: self.runtime_info.mode_by.clone(),
                reason: self.runtime_info.mode_reason.clone(),
            },
            guard: GuardStatus {
                attached: self.guard.is_attached(),
                armed: self.guard.is_armed(),
                reason: self.guard.not_armed_reason(),
            },
            enforcement_effective: ineffective.is_none(),
            ineffective_reason: ineffective,
            self_test: self
                .guard
                .self_test()
                .map(|test| SelfTestStatus { at: Time(test.at).seconds().to_string(), how: test.how.clone() }),
            max_struct_page: self.kernel.known().map(|known| known.status.clone()).unwrap_or_default(),
            policy: self.policy_status(),
            exemptions: self.exemptions(),
            skipped_exemptions: self.skipped_exemptions(),
            programs: self.sensor.as_ref().map(|it| it.programs.clone()).unwrap_or_default(),
            records: self.record_totals,
            last_event: self.recent_events.last().map(str::to_owned),
            web: self.web.status(),
            counters: self.counters(),
            on_agent_exit: policy.on_agent_exit,
            pins: self.pins(),
        }
    }

    fn agent_status(&self) -> AgentStatus {
        AgentStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: Time(self.runtime_info.started).seconds().to_string(),
            kernel: self.facts.release.clone(),
            observing: self.sensor.is_some(),
            reason: match &self.state {
                AgentState::Blind(reason) => Some(reason.clone()),
                AgentState::Idle | AgentState::Starting => Some("libnvdimm is not loaded".to_owned()),
                AgentState::Observing => None,
            },
            ready: matches!(self.state, AgentState::Observing | AgentState::Idle),
            uptime_seconds: self.runtime_info.started.elapsed().unwrap_or_default().as_secs(),
            memory: memory_trim::resident(),
        }
    }

    fn policy_status(&self) -> PolicyStatus {
        let thresholds = self.guard.policy().thresholds;
        PolicyStatus {
            hash: self.options.config_hash.clone(),
            number: self.guard.number(),
            file: self.options.config_files.clone(),
            since: Time(self.runtime_info.policy_since).seconds().to_string(),
            reload_error: self.runtime_info.reload_error.clone(),
            aligns: thresholds.aligns,
            parts_per_million: thresholds.parts_per_million,
            reference_struct_page_bytes: thresholds.reference_struct_page,
        }
    }

    /// Those of the configuration that have not ended, then those that were granted.
    fn exemptions(&self) -> Vec<ExemptionStatus> {
        let of_policy = self.guard.in_configuration().map(|(id, exemption)| self.of_policy(id, exemption));
        of_policy.chain(self.guard.grants().iter().map(|grant| self.granted(grant))).collect()
    }

    fn skipped_exemptions(&self) -> Vec<SkippedExemptionStatus> {
        let all = self.guard.skipped_in_configuration();
        let status = |(exemption, skip_reason): (&Exemption, SkipReason)| SkippedExemptionStatus {
            subject: exemption.subject,
            reason: exemption.reason.clone(),
            skip_reason: skip_reason.to_string(),
        };
        all.map(status).collect()
    }

    fn of_policy(&self, id: u64, exemption: &Exemption) -> ExemptionStatus {
        let Exemption { subject, until, reason } = exemption;
        let remaining = |until: SystemTime| until.duration_since(SystemTime::now()).unwrap_or_default().as_secs();
        ExemptionStatus {
            id,
            origin: ExemptionOrigin::Policy,
            subject: *subject,
            region: None,
            once: false,
            until: until.map(|at| Time(at).seconds().to_string()),
            remaining_seconds: until.map(remaining),
            reason: reason.clone(),
            by: "the configuration".to_owned(),
        }
    }

    fn granted(&self, grant: &Grant) -> ExemptionStatus {
        let until = grant.until_boot_ns.and_then(|until| self.guard.wall_time(until));
        let remaining = grant.until_boot_ns.map(|until| Duration::from_nanos(self.guard.remaining_ns(until)).as_secs());
        ExemptionStatus {
            id: grant.id,
            origin: ExemptionOrigin::Allow,
            subject: grant.subject,
            region: None,
            once: grant.once,
            until: until.map(|at| Time(at).seconds().to_string()),
            remaining_seconds: remaining,
            reason: grant.reason.clone(),
            by: grant.by.clone(),
        }
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        let Some(totals) = self.sensor.as_ref().and_then(|observation| observation.totals().ok()) else {
            return BTreeMap::new();
        };
        Counter::ALL.iter().map(|counter| (counter.name().to_owned(), totals.get(*counter))).collect()
    }
}
