//! How things stand, for `pfnwatch status`.

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, SystemTime},
};

use pfnwatch_common::counter::Counter;

use super::{Pipeline, Told};
use crate::{
    control::protocol::{
        AgentStatus, ExemptionOrigin, ExemptionStatus, GuardStatus, LeftOutStatus, ModeStatus, PolicyStatus, Proof,
        Status,
    },
    event::Time,
    memory,
    policy::{Exemption, Grant, Why},
};

impl<W: Write> Pipeline<W> {
    /// How things stand now.
    pub(super) fn status(&self) -> Status {
        let policy = self.guard.policy();
        let ineffective = self.guard.ineffective();
        Status {
            agent: self.agent_status(),
            mode: ModeStatus {
                mode: policy.mode,
                since: Time(self.said.mode_since).seconds().to_string(),
                by: self.said.mode_by.clone(),
                reason: self.said.mode_reason.clone(),
            },
            guard: GuardStatus {
                attached: self.guard.is_attached(),
                armed: self.guard.is_armed(),
                reason: self.guard.unarmed(),
            },
            enforcement_effective: ineffective.is_none(),
            ineffective_reason: ineffective,
            proof: self
                .guard
                .proof()
                .map(|proof| Proof { at: Time(proof.at).seconds().to_string(), how: proof.how.clone() }),
            max_struct_page: self.kernel.known().map(|known| known.status.clone()).unwrap_or_default(),
            policy: self.policy_status(),
            exemptions: self.exemptions(),
            exemptions_left_out: self.left_out(),
            programs: self.observation.as_ref().map(|it| it.programs.clone()).unwrap_or_default(),
            records: self.ended,
            last_event: self.seen.last().map(str::to_owned),
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
            started: Time(self.said.started).seconds().to_string(),
            kernel: self.facts.release.clone(),
            observing: self.observation.is_some(),
            reason: match &self.told {
                Told::Blind(reason) => Some(reason.clone()),
                Told::Idle | Told::Nothing => Some("libnvdimm is not loaded".to_owned()),
                Told::Observing => None,
            },
            ready: matches!(self.told, Told::Observing | Told::Idle),
            uptime_seconds: self.said.started.elapsed().unwrap_or_default().as_secs(),
            memory: memory::resident(),
        }
    }

    fn policy_status(&self) -> PolicyStatus {
        let thresholds = self.guard.policy().thresholds;
        PolicyStatus {
            hash: self.options.config_hash.clone(),
            number: self.guard.number(),
            file: self.options.config_files.clone(),
            since: Time(self.said.policy_since).seconds().to_string(),
            reload_error: self.said.reload_error.clone(),
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

    fn left_out(&self) -> Vec<LeftOutStatus> {
        let all = self.guard.left_out_of_configuration();
        let status = |(exemption, why): (&Exemption, Why)| LeftOutStatus {
            subject: exemption.subject,
            reason: exemption.reason.clone(),
            why: why.to_string(),
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
        let until = grant.until_boot_ns.and_then(|until| self.guard.wall(until));
        let remaining = grant.until_boot_ns.map(|until| Duration::from_nanos(self.guard.left(until)).as_secs());
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
        let Some(totals) = self.observation.as_ref().and_then(|observation| observation.totals().ok()) else {
            return BTreeMap::new();
        };
        Counter::ALL.iter().map(|counter| (counter.name().to_owned(), totals.of(*counter))).collect()
    }
}
