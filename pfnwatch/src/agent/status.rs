//! The agent as it is at one moment, for `pfnwatch status`, the web, alerts and the service manager.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use pfnwatch_common::counter::Counter;
use uuid::Uuid;

use super::Options;
use super::alerts::Alerts;
use super::attach_retry::AttachRetry;
use super::baseline_watch::BaselineWatch;
use super::event_summary::EventSummary;
use super::initial_scan::ReportedBlocks;
use super::kernel_watch::KernelWatch;
use super::losses::Losses;
use super::memmap_watch::MemmapWatch;
use super::records::RecordAssessor;
use super::runtime_info::RuntimeInfo;
use super::sensor::Sensor;
use super::state::AgentState;
use crate::export::web::Web;
use crate::guard::Guard;
use crate::guard::info_block_cache::InfoBlockCache;
use crate::model::inventory::{InfoBlocks, Inventory, Namespace};
use crate::model::kernel::KernelFacts;
use crate::model::kernel::MemmapCounter;
use crate::model::policy::{Exemption, ExemptionSubject, Grant, Mode};
use crate::model::scan_result::ScanResult;
use crate::model::status::{
    AgentStatus, ExemptionOrigin, ExemptionStatus, SelfTestStatus, SkippedExemptionStatus, Status,
};
use crate::model::timestamp::Timestamp;
use crate::model::view::View;
use crate::os::clock::Clock;
use crate::os::memory_trim;
use crate::policy::SkipReason;
use crate::store::EventStore;
use crate::sysfs::inventory::SysfsRoots;

/// The parts of the agent that its status is made of.
#[derive(Clone, Copy)]
pub(super) struct AgentSnapshot<'a> {
    pub(super) options: &'a Options,
    pub(super) facts: &'a KernelFacts,
    pub(super) runtime_info: &'a RuntimeInfo,
    pub(super) state: &'a AgentState,
    pub(super) attach_retry: &'a AttachRetry,
    pub(super) sensor: &'a dyn Sensor,
    pub(super) clock: &'a dyn Clock,
    pub(super) losses: &'a Losses,
    pub(super) assessor: &'a RecordAssessor,
    pub(super) reported_blocks: &'a ReportedBlocks,
    pub(super) kernel: &'a KernelWatch,
    pub(super) memmap: &'a MemmapWatch,
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
        let observation = self.state.describe(&self.facts.release);
        let retry = self.attach_retry.remaining(self.clock);
        let retry = retry.map(|time| format!("; retry in {} s", time.as_secs())).unwrap_or_default();
        let mode = self.guard.policy().mode;
        let ineffective = self.state.ineffective_reason(self.guard);
        let ineffective = ineffective.filter(|_| mode == Mode::Enforce && !self.state.is_waiting());
        let effect = ineffective.map(|reason| format!(" without effect: {reason}")).unwrap_or_default();
        let refused = if self.runtime_info.has_reload_failed() { "; a configuration was refused" } else { "" };
        // A line break would end the message.
        format!("{observation}{retry}; {mode}{effect}{refused}").replace(char::is_control, " ")
    }

    /// The host and its agent, for the web and for alerts.
    pub(super) fn view(&self) -> View {
        let scan = self.scan();
        View {
            now: self.clock.wall(),
            status: self.status_with(scan.as_ref().ok()),
            scan: scan.map_err(|error| format!("{error:#}")),
            max_struct_page_size: self.kernel.max_struct_page(),
            programs: self.sensor.programs(),
            runs: self.sensor.program_runs(),
            events: self.events.counts().clone(),
            last_events: self.events.last().cloned().collect(),
            regressions: self.baseline.regressions(),
            store: self.store.health(),
            alerts: self.alerts.deliveries(),
            degraded: self.state.degraded.counts(),
        }
    }

    pub(super) fn status(&self) -> Status {
        self.status_with(self.scan().ok().as_ref())
    }

    fn status_with(&self, scan: Option<&ScanResult>) -> Status {
        let policy = self.guard.policy();
        let ineffective = self.state.ineffective_reason(self.guard);
        Status {
            agent: self.agent(),
            mode: self.runtime_info.mode_status(self.guard),
            guard: self.state.guard_status(self.guard),
            enforcement_effective: ineffective.is_none(),
            ineffective_reason: ineffective,
            self_test: self
                .state
                .self_test()
                .map(|it| SelfTestStatus { at: Timestamp::from(it.at), how: it.how.clone() }),
            max_struct_page: self.kernel.known().map(|report| report.status.clone()).unwrap_or_default(),
            totals: scan.map(|scan| scan.totals),
            device_totals: scan.map(|scan| scan.device_totals),
            memmap_return: self.memmap.status().clone(),
            policy: self.runtime_info.policy_status(self.guard.number(), policy.thresholds),
            exemptions: self.exemptions(),
            skipped_exemptions: skipped_exemptions(self.guard),
            programs: self.sensor.programs(),
            records: self.losses.totals(),
            last_event: self.events.last().next_back().map(|event| event.text.clone()),
            web: self.web.status(),
            counters: self.counters(),
            probe_misses: self.probe_misses(),
            store_error: self.store.health().error,
            evictions: self.evictions(),
            on_agent_exit: policy.on_agent_exit,
            pins: self.sensor.pins(),
            degraded: self.state.degraded.status(),
        }
    }

    /// The counters of the programs by name; empty if there are none, or if they cannot be read.
    fn counters(&self) -> BTreeMap<String, u64> {
        let Ok(Some(totals)) = self.sensor.counters() else { return BTreeMap::new() };
        Counter::ALL.iter().map(|counter| (counter.name().to_owned(), totals.get(*counter))).collect()
    }

    fn probe_misses(&self) -> BTreeMap<String, u64> {
        let runs = self.sensor.program_runs().into_iter();
        runs.filter_map(|it| Some((it.program, it.probe_misses?))).collect()
    }

    fn evictions(&self) -> BTreeMap<String, u64> {
        let (labels, predictions) = self.assessor.evicted();
        let [boots, costs, devices] = self.baseline.evicted();
        let store = self.store.health();
        let counts = [
            ("boots", boots),
            ("costs", costs),
            ("damaged_stores", store.deleted_damaged),
            ("devices", devices),
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
            phase: self.state.phase(),
            observing: self.state.is_observing(),
            reason: self.state.reason(),
            retry_in_seconds: self.attach_retry.remaining(self.clock).map(|time| time.as_secs()),
            ready: self.state.is_ready(),
            uptime_seconds: self.clock.wall().duration_since(started).unwrap_or_default().as_secs(),
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
        blocks.add_saved(&inventory.namespaces, self.info_blocks.iter());
        let scan = ScanResult::assess(inventory, &blocks, self.facts.clone(), &self.guard.policy().thresholds);
        Ok(ScanResult { memmap_counter: MemmapCounter::read(&self.options.paths, self.facts), ..scan })
    }

    /// The block that a namespace is enabled with, if it is the one that was seen last.
    fn add_block(&self, namespace: &Namespace, blocks: &mut InfoBlocks) {
        let Some((start, uuid)) = namespace.block_in_use() else { return };
        let Some(saved) = self.info_blocks.at(start) else { return };
        if Uuid::from_bytes(saved.block().uuid) == uuid && !saved.destroyed {
            blocks.insert(&namespace.name, *saved.bytes());
        }
    }

    /// The configuration's exemptions that have not ended, then the grants.
    fn exemptions(&self) -> Vec<ExemptionStatus> {
        let configured = self.guard.in_configuration().map(|(id, exemption)| self.configured_exemption(id, exemption));
        configured.chain(self.guard.grants().iter().map(|grant| self.granted_exemption(grant))).collect()
    }

    fn configured_exemption(&self, id: u64, exemption: &Exemption) -> ExemptionStatus {
        let Exemption { subject, until, reason } = exemption;
        let remaining = |until: SystemTime| until.duration_since(self.clock.wall()).unwrap_or_default().as_secs();
        ExemptionStatus {
            id,
            origin: ExemptionOrigin::Policy,
            subject: *subject,
            region: self.region(*subject),
            once: false,
            until: until.map(Timestamp::from),
            remaining_seconds: until.map(remaining),
            reason: reason.clone(),
            by: "the configuration".to_owned(),
        }
    }

    fn granted_exemption(&self, grant: &Grant) -> ExemptionStatus {
        let until = grant.until_boot_ns.and_then(|until| self.guard.wall_time(until));
        let remaining = |until| Duration::from_nanos(self.guard.remaining_ns(until)).as_secs();
        ExemptionStatus {
            id: grant.id,
            origin: ExemptionOrigin::Allow,
            subject: grant.subject,
            region: self.region(grant.subject),
            once: grant.once,
            until: until.map(Timestamp::from),
            remaining_seconds: grant.until_boot_ns.map(remaining),
            reason: grant.reason.clone(),
            by: grant.by.clone(),
        }
    }

    /// The region's name today.
    fn region(&self, subject: ExemptionSubject) -> Option<String> {
        self.guard.region_name(subject).map(str::to_owned)
    }
}

fn skipped_exemptions(guard: &Guard) -> Vec<SkippedExemptionStatus> {
    let status = |(exemption, reason): (&Exemption, SkipReason)| SkippedExemptionStatus {
        subject: exemption.subject,
        reason: exemption.reason.clone(),
        skip_reason: reason.to_string(),
    };
    guard.skipped_in_configuration().map(status).collect()
}
