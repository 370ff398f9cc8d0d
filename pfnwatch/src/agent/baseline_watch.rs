//! The agent's side: learns from surveys, events and the kernel's facts, and writes down what it has learned.

use crate::model::capacity::observed_kernel;
use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use pfnwatch_common::Map;

use crate::{
    analysis::baseline::{CostHistory, RegressionChange, host_regression, ledger::change},
    model::capacity::{AcceptError, Acceptance, BaselineScope, Cost, CostRecord, NamespaceKey, Regression},
};
use crate::{
    model::{
        event::{Body, CapacityRegression, Event, SetUp, Time},
        store::BootRow,
        survey::{AssessedNamespace, ScanResult},
    },
    store::EventStore,
};

/// What is known of costs, now and before.
#[derive(Debug)]
pub(super) struct BaselineWatch {
    release: String,
    page_size: u64,
    boots: Vec<BootRow>,
    history: CostHistory,
    host: Option<Regression>,
    /// When it was last written down that the running kernel runs; none before it is known.
    last_heartbeat: Option<SystemTime>,
}

/// How often that is written down while nothing else is learned.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(60 * 60);

impl BaselineWatch {
    /// Takes up what the event store has; without one it begins anew.
    #[must_use]
    pub(super) fn new(journal: &mut EventStore, release: &str, page_size: u64) -> Self {
        Self {
            release: release.to_owned(),
            page_size,
            boots: journal.boots().unwrap_or_default(),
            history: CostHistory::new(journal.costs().unwrap_or_default()),
            host: None,
            last_heartbeat: None,
        }
    }

    /// Learns what the running kernel and its libnvdimm reserve for each page.
    pub(super) fn observe_kernel(&mut self, journal: &mut EventStore, mut boot: BootRow) -> Option<Body> {
        let known = |boot: &&BootRow| boot.max_struct_page_size.is_some();
        // What the agent before this one has told, or this one under the libnvdimm before.
        let before =
            self.boots.iter().filter(known).max_by_key(|boot| boot.last_seen).and_then(|boot| self.regression_of(boot));
        let is_it = |it: &BootRow| (&it.boot_id, &it.module_build_id) == (&boot.boot_id, &boot.module_build_id);
        if let Some(place) = self.boots.iter().position(is_it) {
            boot.accepted = self.boots.swap_remove(place).accepted;
        }
        journal.save_boot(&boot);
        let is_known = boot.max_struct_page_size.is_some();
        // With nothing known the host is no better than it was.
        self.host = if is_known { self.regression_of(&boot) } else { self.host.take().or_else(|| before.clone()) };
        self.last_heartbeat = Some(boot.last_seen);
        self.boots.push(boot);
        if is_known { event_of(change(before, self.host.clone())) } else { None }
    }

    /// The kernel that was learned last still runs: that is written down every hour, and where the agent ends.
    pub(super) fn heartbeat(&mut self, journal: &mut EventStore, now: SystemTime, ends: bool) {
        let (Some(noted), Some(boot)) = (self.last_heartbeat, self.boots.last_mut()) else { return };
        // A clock that was set back counts as an hour.
        if ends || now.duration_since(noted).map_or(true, |past| past >= HEARTBEAT_INTERVAL) {
            boot.last_seen = now;
            self.last_heartbeat = Some(now);
            journal.save_boot(boot);
        }
    }

    fn regression_of(&self, boot: &BootRow) -> Option<Regression> {
        let others: Vec<_> = self.boots.iter().map(|boot| observed_kernel(boot, self.page_size)).collect();
        host_regression(&observed_kernel(boot, self.page_size), &others)
    }

    /// Learns from all namespaces at once.
    pub(super) fn observe_scan(&mut self, journal: &mut EventStore, survey: &ScanResult) -> Vec<Body> {
        let mut learned = Vec::new();
        let mut there = BTreeSet::new();
        for judged in &survey.namespaces {
            let Some(namespace) = namespace(judged) else { continue };
            if judged.map() != Some(Map::Dev) && judged.namespace.mode.is_ok() {
                continue;
            }
            there.insert((namespace.start_address, namespace.size_bytes));
            learned.extend(self.cost(judged).map(|cost| self.history.observe(namespace, cost)));
        }
        learned.extend(self.history.retain(&there));
        save(journal, learned)
    }

    /// Learns from an event.
    pub(super) fn observe_event(&mut self, journal: &mut EventStore, event: &Event) -> Vec<Body> {
        let learned = match &event.body {
            Body::SetUp(setup) => self.set_up(setup, event.time),
            Body::Destroy(change) => change.namespace_uuid.map(|uuid| self.history.destroyed(uuid)).unwrap_or_default(),
            _ => Vec::new(),
        };
        save(journal, learned)
    }

    /// The regressions that stand.
    pub(super) fn regressions(&self) -> Vec<Regression> {
        self.host.iter().cloned().chain(self.history.regressions()).collect()
    }

    /// Takes what is there now for the baseline. Gives the regression that ends with it.
    ///
    /// # Errors
    /// There is none, or it cannot be written down.
    pub(super) fn accept(
        &mut self,
        journal: &mut EventStore,
        whose: &BaselineScope,
        acceptance: Acceptance,
    ) -> Result<Regression, AcceptError> {
        match whose {
            BaselineScope::Host => self.accept_host(journal, acceptance),
            BaselineScope::Namespace(which) => {
                let (record, regression) = self.history.accept_preview(which, acceptance)?;
                journal.save_costs(std::slice::from_ref(&record)).ok_or(AcceptError::NotSaved)?;
                self.history.replace(record);
                Ok(regression)
            }
        }
    }

    /// The kernel that was learned last is the one that runs: it stays, and all others are set aside.
    fn accept_host(&mut self, journal: &mut EventStore, acceptance: Acceptance) -> Result<Regression, AcceptError> {
        let regression = self.host.clone().ok_or_else(|| AcceptError::NoRegression("the host".to_owned()))?;
        let mut boots = self.boots.clone();
        let (now, others) = boots.split_last_mut().ok_or(AcceptError::UnknownKernel)?;
        if now.max_struct_page_size.is_none() {
            return Err(AcceptError::UnknownKernel);
        }
        now.accepted = Some(acceptance);
        others.iter_mut().for_each(|boot| boot.set_aside = true);
        journal.save_boots(&boots).ok_or(AcceptError::NotSaved)?;
        (self.boots, self.host) = (boots, None);
        Ok(regression)
    }

    fn set_up(&mut self, setup: &SetUp, time: Time) -> Vec<(CostRecord, RegressionChange)> {
        let (Some(it), Some(sizes)) = (&setup.namespace, setup.sizes) else { return Vec::new() };
        let namespace = NamespaceKey {
            namespace: it.namespace.clone(),
            namespace_uuid: it.namespace_uuid,
            start_address: it.start_address,
            size_bytes: it.size_bytes,
        };
        match setup.judgement.as_ref().and_then(|it| it.excess_bytes) {
            _ if setup.map != Some(Map::Dev) => self.history.without_memmap(&namespace),
            Some(excess_bytes) => vec![self.history.observe(
                namespace,
                Cost {
                    kernel: self.release.clone(),
                    seen: time.to_string(),
                    reservation_bytes: sizes.reservation_bytes,
                    excess_bytes,
                    max_struct_page_size_bytes: Some(sizes.page_struct_size_bytes).filter(|bytes| *bytes != 0),
                },
            )],
            None => Vec::new(),
        }
    }

    fn cost(&self, judged: &AssessedNamespace) -> Option<Cost> {
        let numbers = &judged.assessment.numbers;
        let made_with = judged.facts.block.as_ref().map(|block| u64::from(block.page_struct_size));
        Some(Cost {
            kernel: self.release.clone(),
            seen: Time(SystemTime::now()).to_string(),
            reservation_bytes: numbers.reservation?,
            excess_bytes: numbers.excess?,
            max_struct_page_size_bytes: made_with.filter(|bytes| *bytes != 0),
        })
    }
}

fn namespace(judged: &AssessedNamespace) -> Option<NamespaceKey> {
    let it = &judged.namespace;
    Some(NamespaceKey {
        namespace: it.name.clone(),
        namespace_uuid: it.uuid.clone().ok().filter(|uuid| !uuid.is_nil()),
        start_address: judged.facts.start?,
        size_bytes: judged.facts.size?,
    })
}

/// Writes down what is news, and gives what has to be told of it.
fn save(journal: &mut EventStore, learned: Vec<(CostRecord, RegressionChange)>) -> Vec<Body> {
    let (news, changes): (Vec<_>, Vec<_>) =
        learned.into_iter().filter(|(_, change)| *change != RegressionChange::Unchanged).unzip();
    if !news.is_empty() {
        journal.save_costs(&news);
    }
    changes.into_iter().filter_map(event_of).collect()
}

fn event_of(change: RegressionChange) -> Option<Body> {
    match change {
        RegressionChange::Unchanged | RegressionChange::Recorded => None,
        RegressionChange::Began(it) => Some(Body::CapacityRegression(Box::new(CapacityRegression::begins(*it)))),
        RegressionChange::Ended(it) => Some(Body::CapacityRegressionEnded(Box::new(CapacityRegression::ends(*it)))),
    }
}

#[cfg(test)]
mod tests;
