//! How this host and its agent stand at one moment, for whoever asks over the web.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Write,
    time::SystemTime,
};

use uuid::Uuid;

use super::Agent;
use crate::{
    export::{line, web::ViewRequest},
    model::{
        event::{Body, Event},
        inventory::{Holder, InfoBlocks, Inventory, Namespace},
        survey::ScanResult,
        view::{EventLine, ProgramRuns, View},
    },
    sysfs::inventory::SysfsRoots,
};

/// How many of the last events are shown.
const MAX_LAST_EVENTS: usize = 20;

/// What was seen of events, for the view.
pub(super) struct RecentEvents {
    counts: BTreeMap<&'static str, u64>,
    last: VecDeque<EventLine>,
}

impl Default for RecentEvents {
    /// A kind that never came is 0, so that its first is an increase.
    fn default() -> Self {
        Self {
            counts: Body::KINDS.iter().map(|kind| (*kind, 0)).collect(),
            last: VecDeque::with_capacity(MAX_LAST_EVENTS),
        }
    }
}

impl RecentEvents {
    pub(super) fn record(&mut self, event: &Event) {
        let kind = event.body.kind();
        let count = self.counts.entry(kind).or_default();
        *count = count.saturating_add(1);
        if self.last.len() >= MAX_LAST_EVENTS {
            self.last.pop_front();
        }
        self.last.push_back(EventLine { kind, text: line::of(event) });
    }

    /// The last event's line.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.back().map(|line| line.text.as_str())
    }
}

impl<W: Write> Agent<W> {
    /// Answers one who asks over the web.
    pub(super) fn serve_view(&mut self, call: ViewRequest) -> anyhow::Result<()> {
        if call.is_given_up() {
            return Ok(());
        }
        self.report_losses_throttled()?;
        call.answer(self.view());
        Ok(())
    }

    /// How everything stands now.
    pub(super) fn view(&self) -> View {
        View {
            now: SystemTime::now(),
            status: self.status(),
            survey: self.survey().map_err(|error| format!("{error:#}")),
            max_struct_page_size: self.kernel.max_struct_page(),
            programs: self.sensor.as_ref().map(|it| it.programs.clone()).unwrap_or_default(),
            runs: self.program_runs(),
            events: self.recent_events.counts.clone(),
            last_events: self.recent_events.last.iter().cloned().collect(),
            regressions: self.baseline.regressions(),
            store: self.store.health(),
            alerts: self.alerts.deliveries(),
        }
    }

    /// The namespaces as sysfs has them now, with the info blocks that are known: no program is loaded for it.
    fn survey(&self) -> anyhow::Result<ScanResult> {
        let roots = SysfsRoots::from(&self.options.paths);
        let inventory = Inventory::read(&roots)?;
        let mut blocks = inventory.blocks_on_raw_devices(&roots);
        for namespace in &inventory.namespaces {
            self.add_block(namespace, &mut blocks);
        }
        Ok(ScanResult::assess(inventory, &blocks, self.facts.clone(), &self.guard.policy().thresholds))
    }

    /// The block that a namespace is enabled with, where that is the one that was seen last: by its uuid, for libnvdimm hands
    /// names out again.
    fn add_block(&self, namespace: &Namespace, blocks: &mut InfoBlocks) {
        let in_use = |holder: &Holder| holder.enabled().then(|| holder.uuid.clone().ok()).flatten();
        let (Ok(start), Ok(holder)) = (&namespace.resource, &namespace.holder) else { return };
        let (Some(kept), Some(uuid)) = (self.info_blocks.at(*start), in_use(holder)) else { return };
        if Uuid::from_bytes(kept.block().uuid) == uuid && !kept.destroyed {
            blocks.insert(&namespace.name, *kept.bytes());
        }
    }

    /// What the programs cost, where this host has the kernel count it: that is not turned on for this.
    fn program_runs(&self) -> Vec<ProgramRuns> {
        let file = self.options.paths.procfs.join("sys/kernel/bpf_stats_enabled");
        let on = std::fs::read_to_string(file).is_ok_and(|text| text.trim() == "1");
        match &self.sensor {
            Some(observation) if on => observation.runs(),
            _ => Vec::new(),
        }
    }
}
