//! The agent as it is at one moment, for `pfnwatch status`, the web, alerts and the service manager.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::{
    Options, alerts::Alerts, baseline_watch::BaselineWatch, event_summary::EventSummary, initial_scan::ReportedBlocks,
    kernel_watch::KernelWatch, observation::Observation, records::RecordAssessor, runtime_info::RuntimeInfo,
};
use crate::{
    export::web::Web,
    guard::{Guard, info_block_cache::InfoBlockCache},
    model::{
        inventory::{Holder, InfoBlocks, Inventory, Namespace},
        kernel::KernelFacts,
        policy::{Exemption, Grant, Mode},
        scan_result::ScanResult,
        status::{
            AgentStatus, ExemptionOrigin, ExemptionStatus, GuardStatus, SelfTestStatus, SkippedExemptionStatus, Status,
        },
        timestamp::Timestamp,
        view::View,
    },
    os::memory_trim,
    policy::SkipReason,
    store::EventStore,
    sysfs::inventory::SysfsRoots,
};

/// The parts of the agent that its status is made of.
#[derive(Clone, Copy)]
pub(super) struct AgentSnapshot<'a> {
    pub(super) options: &'a Options,
    pub(super) facts: &'a KernelFacts,
    pub(super) runtime_info: &'a RuntimeInfo,
    pub(super) observation: &'a Observation,
    pub(super) assessor: &'a RecordAssessor,
    pub(super) reported_blocks: &'a ReportedBlocks,
    pub(super) kernel: &'a KernelWatch,
    pub(super) guard: &'a Guard,
    pub(super) info_blocks: &'a InfoBlockCache,
    pub(super) baseline: &'a BaselineWatch,
    pub(super) events: &'a EventSummary,
    pub(super) store: &'a EventStore,
    pub(super) web: &'a Web,
    pub(super) alerts: &'a Alerts,
}

impl AgentSnapshot<'_> {
    /// One line without control characters for the service manager, which `systemctl status` shows.
    pub(super) fn service_status(&self) -> String {
        let observation = self.observation.describe(&self.facts.release);
        let mode = self.guard.policy().mode;
        let ineffective =
            self.guard.ineffective_reason().filter(|_| mode == Mode::Enforce && !self.observation.is_idle());
        let effect = ineffective.map(|reason| format!(" without effect: {reason}")).unwrap_or_default();
        let refused = if self.runtime_info.has_reload_failed() { "; a configuration was refused" } else { "" };
        // A line break would end the message.
        format!("{observation}; {mode}{effect}{refused}").replace(char::is_control, " ")
    }

    /// The host and its agent, for the web and for alerts.
    pub(super) fn view(&self) -> View {
        View {
            now: SystemTime::now(),
            status: self.status(),
            scan: self.scan().map_err(|error| format!("{error:#}")),
            max_struct_page_size: self.kernel.max_struct_page(),
            programs: self.observation.programs(),
            runs: self.observation.program_runs(&self.options.paths.procfs),
            events: self.events.counts().clone(),
            last_events: self.events.last().cloned().collect(),
            regressions: self.baseline.regressions(),
            store: self.store.health(),
            alerts: self.alerts.deliveries(),
        }
    }

    pub(super) fn status(&self) -> Status {
        let policy = self.guard.policy();
        let ineffective = self.guard.ineffective_reason();
        Status {
            agent: self.agent(),
            mode: self.runtime_info.mode_status(policy.mode),
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
                .map(|it| SelfTestStatus { at: Timestamp::from(it.at), how: it.how.clone() }),
            max_struct_page: self.kernel.known().map(|report| report.status.clone()).unwrap_or_default(),
            policy: self.runtime_info.policy_status(self.guard.number(), policy.thresholds),
            exemptions: exemptions(self.guard),
            skipped_exemptions: skipped_exemptions(self.guard),
            programs: self.observation.programs(),
            records: self.observation.totals(),
            last_event: self.events.last().next_back().map(|event| event.text.clone()),
            web: self.web.status(),
            counters: self.observation.counters(),
            store_error: self.store.health().error,
            evictions: self.evictions(),
            on_agent_exit: policy.on_agent_exit,
            pins: self.observation.pins(),
        }
    }

    fn evictions(&self) -> BTreeMap<String, u64> {
        let (labels, predictions) = self.assessor.evicted();
        let (boots, costs) = self.baseline.evicted();
        let store = self.store.health();
        let counts = [
            ("boots", boots),
            ("costs", costs),
            ("damaged_stores", store.deleted_damaged),
            ("exemption_descriptions", self.guard.evicted_descriptions()),
            ("info_blocks", self.info_blocks.evicted()),
            ("labels", labels),
            ("predictions", predictions),
            ("reported_blocks", self.reported_blocks.evicted()),
            ("unsaved_events", store.dropped),
        ];
        counts.map(|(what, count)| (what.to_owned(), count)).into()
    }

    fn agent(&self) -> AgentStatus {
        let started = self.runtime_info.started();
        AgentStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: Timestamp::from(started),
            kernel: self.facts.release.clone(),
            observing: self.observation.is_attached(),
            reason: self.observation.reason(),
            ready: self.observation.is_ready(),
            uptime_seconds: started.elapsed().unwrap_or_default().as_secs(),
            memory: memory_trim::resident(),
        }
    }

    /// The namespaces as sysfs has them now, with the info blocks that are saved: no program is loaded for it.
    fn scan(&self) -> anyhow::Result<ScanResult> {
        let roots = SysfsRoots::from(&self.options.paths);
        let inventory = Inventory::read(&roots)?;
        let mut blocks = inventory.blocks_on_raw_devices(&roots);
        for namespace in &inventory.namespaces {
            self.add_block(namespace, &mut blocks);
        }
        Ok(ScanResult::assess(inventory, &blocks, self.facts.clone(), &self.guard.policy().thresholds))
    }

    /// The block that a namespace is enabled with, if it is the one that was seen last: by its uuid, since libnvdimm reuses
    /// names.
    fn add_block(&self, namespace: &Namespace, blocks: &mut InfoBlocks) {
        let uuid_in_use = |holder: &Holder| holder.enabled().then(|| holder.uuid.clone().ok()).flatten();
        let (Ok(start), Ok(holder)) = (&namespace.resource, &namespace.holder) else { return };
        let (Some(saved), Some(uuid)) = (self.info_blocks.at(*start), uuid_in_use(holder)) else { return };
        if Uuid::from_bytes(saved.block().uuid) == uuid && !saved.destroyed {
            blocks.insert(&namespace.name, *saved.bytes());
        }
    }
}

/// The configuration's exemptions that have not ended, then the grants.
fn exemptions(guard: &Guard) -> Vec<ExemptionStatus> {
    let configured = guard.in_configuration().map(|(id, exemption)| configured_exemption(id, exemption));
    configured.chain(guard.grants().iter().map(|grant| granted_exemption(guard, grant))).collect()
}

fn skipped_exemptions(guard: &Guard) -> Vec<SkippedExemptionStatus> {
    let status = |(exemption, reason): (&Exemption, SkipReason)| SkippedExemptionStatus {
        subject: exemption.subject,
        reason: exemption.reason.clone(),
        skip_reason: reason.to_string(),
    };
    guard.skipped_in_configuration().map(status).collect()
}

fn configured_exemption(id: u64, exemption: &Exemption) -> ExemptionStatus {
    let Exemption { subject, until, reason } = exemption;
    let remaining = |until: SystemTime| until.duration_since(SystemTime::now()).unwrap_or_default().as_secs();
    ExemptionStatus {
        id,
        origin: ExemptionOrigin::Policy,
        subject: *subject,
        region: None,
        once: false,
        until: until.map(Timestamp::from),
        remaining_seconds: until.map(remaining),
        reason: reason.clone(),
        by: "the configuration".to_owned(),
    }
}

fn granted_exemption(guard: &Guard, grant: &Grant) -> ExemptionStatus {
    let until = grant.until_boot_ns.and_then(|until| guard.wall_time(until));
    let remaining = grant.until_boot_ns.map(|until| Duration::from_nanos(guard.remaining_ns(until)).as_secs());
    ExemptionStatus {
        id: grant.id,
        origin: ExemptionOrigin::Allow,
        subject: grant.subject,
        region: None,
        once: grant.once,
        until: until.map(Timestamp::from),
        remaining_seconds: remaining,
        reason: grant.reason.clone(),
        by: grant.by.clone(),
    }
}
