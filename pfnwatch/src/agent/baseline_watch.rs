//! What namespaces cost and what devices serve, now and before: learned from scans, events and the kernel's facts, and saved in the
//! event store.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use pfnwatch_common::Map;

use crate::analysis::baseline::{
    CostHistory, DeviceHistory, RegressionChange, change, host_regression, memmap_regression, reference,
};
use crate::kernel::boot;
use crate::model::capacity::{
    AcceptError, Acceptance, BaselineScope, Cost, CostRecord, DeviceKey, DeviceState, NamespaceKey, Regression,
    observed_kernel,
};
use crate::model::device::AssessedDevice;
use crate::model::event::{Body, CapacityRegression, Event, MaxStructPageReport, SetUp, Time};
use crate::model::kernel::KernelFacts;
use crate::model::scan_result::{AssessedNamespace, ScanResult};
use crate::model::store::BootRow;
use crate::os::paths::Paths;
use crate::store::EventStore;

/// The costs of the host and of its namespaces, and what its devices serve, now and before.
#[derive(Debug)]
pub(super) struct BaselineWatch {
    release: String,
    page_size: u64,
    boots: Vec<BootRow>,
    /// How many boots were evicted because there were too many.
    evicted_boots: u64,
    history: CostHistory,
    devices: DeviceHistory,
    /// When devices were compared last, as time since boot.
    devices_compared: Option<Duration>,
    host: Option<Regression>,
    /// Whether the running kernel returns memmaps in DRAM.
    memmap_returned: Option<bool>,
    memmap: Option<Regression>,
    /// When it was last saved that the running kernel runs; `None` before it is known.
    last_heartbeat: Option<SystemTime>,
    /// The number of the file that has all of it (`EventStore::file_number`).
    file_number: u64,
}

/// The limit of boots. The one that was seen the longest ago is evicted first, but neither the running kernel's nor the one that it
/// and later kernels are compared with.
const MAX_BOOTS: usize = 256;

/// How often devices are compared, and how long after boot first: udev and services bring their memory online.
const DEVICE_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// How often that is saved while nothing else is learned.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(60 * 60);

impl BaselineWatch {
    /// Continues with what the store has, or with nothing if it cannot be read.
    #[must_use]
    pub(super) fn new(store: &mut EventStore, release: &str, page_size: u64) -> Self {
        Self {
            release: release.to_owned(),
            page_size,
            boots: store.boots().unwrap_or_default(),
            evicted_boots: 0,
            history: CostHistory::new(store.costs().unwrap_or_default()),
            devices: DeviceHistory::new(store.devices().unwrap_or_default()),
            devices_compared: None,
            host: None,
            memmap_returned: None,
            memmap: None,
            last_heartbeat: None,
            file_number: store.file_number(),
        }
    }

    /// Learns what the running kernel and its libnvdimm reserve for each page.
    pub(super) fn observe_kernel(&mut self, store: &mut EventStore, mut boot: BootRow) -> Option<Body> {
        let known = |boot: &&BootRow| boot.max_struct_page_size.is_some();
        // The regression that an earlier agent has reported, or this one under an earlier libnvdimm.
        let before =
            self.boots.iter().filter(known).max_by_key(|boot| boot.last_seen).and_then(|boot| self.regression_of(boot));
        let is_same = |it: &BootRow| (&it.boot_id, &it.module_build_id) == (&boot.boot_id, &boot.module_build_id);
        if let Some(index) = self.boots.iter().position(is_same) {
            let known = self.boots.swap_remove(index);
            (boot.accepted, boot.memmap_returned) = (known.accepted, known.memmap_returned);
        }
        store.save_boot(&boot);
        let is_known = boot.max_struct_page_size.is_some();
        // With nothing known the host is no better than it was.
        self.host = if is_known { self.regression_of(&boot) } else { self.host.take().or_else(|| before.clone()) };
        self.last_heartbeat = Some(boot.last_seen);
        self.boots.push(boot);
        self.evict_boots(store);
        if is_known { event_of(change(before, self.host.clone())) } else { None }
    }

    /// Learns whether the running kernel returns memmaps in DRAM.
    pub(super) fn observe_memmap_return(&mut self, store: &mut EventStore, returned: bool) -> Option<Body> {
        self.memmap_returned = Some(returned);
        self.compare_memmap_return(store)
    }

    /// Compares that with earlier boots, once the running one has its row, and it is known what it reserves.
    pub(super) fn compare_memmap_return(&mut self, store: &mut EventStore) -> Option<Body> {
        let has_row = self.last_heartbeat.and(self.boots.last()?.max_struct_page_size).is_some();
        self.memmap_returned.filter(|_| has_row)?;
        let known = self.boots.iter().filter(|boot| boot.memmap_returned.is_some());
        let before = known.max_by_key(|boot| boot.last_seen).and_then(|boot| self.memmap_regression_of(boot));
        let boot = self.boots.last_mut()?;
        if boot.memmap_returned != self.memmap_returned {
            boot.memmap_returned = self.memmap_returned;
            store.save_boot(boot);
        }
        self.memmap = self.boots.last().and_then(|boot| self.memmap_regression_of(boot));
        event_of(change(before, self.memmap.clone()))
    }

    fn memmap_regression_of(&self, boot: &BootRow) -> Option<Regression> {
        let others: Vec<_> = self.boots.iter().map(|boot| observed_kernel(boot, self.page_size)).collect();
        memmap_regression(&observed_kernel(boot, self.page_size), &others)
    }

    /// The kernel that was learned last still runs: that is saved every hour, and when the agent ends.
    pub(super) fn heartbeat(&mut self, store: &mut EventStore, now: SystemTime, ends: bool) {
        let (Some(last), Some(boot)) = (self.last_heartbeat, self.boots.last_mut()) else { return };
        // A clock that was set back counts as an hour.
        if ends || now.duration_since(last).map_or(true, |past| past >= HEARTBEAT_INTERVAL) {
            boot.last_seen = now;
            self.last_heartbeat = Some(now);
            store.save_boot(boot);
        }
    }

    /// Saves all of it again if the event store's file is another one, which does not have it.
    pub(super) fn restore_rows(&mut self, store: &mut EventStore) {
        let number = store.file_number();
        if number == self.file_number {
            return;
        }
        let costs: Vec<_> = self.history.records().cloned().collect();
        // What is not saved now is saved at the next call.
        let saved = store.save_boots(&self.boots).and_then(|()| store.save_costs(&costs));
        if saved.and_then(|()| store.replace_devices(self.devices.records())).is_some() {
            self.file_number = number;
        }
    }

    /// The running kernel's boot is the last of the list.
    fn evict_boots(&mut self, store: &mut EventStore) {
        let kernels: Vec<_> = self.boots.iter().map(|boot| observed_kernel(boot, self.page_size)).collect();
        let reference = reference(kernels.iter()).map(|(kernel, _)| kernel.id.clone());
        let Some((_, others)) = self.boots.split_last() else { return };
        let is_evictable = |boot: &&BootRow| Some(observed_kernel(boot, self.page_size).id) != reference;
        let mut surplus: Vec<_> = others.iter().filter(is_evictable).cloned().collect();
        surplus.sort_by_key(|boot| boot.last_seen);
        surplus.truncate(self.boots.len().saturating_sub(MAX_BOOTS));
        if surplus.is_empty() {
            return;
        }
        store.delete_boots(&surplus);
        self.boots.retain(|boot| !surplus.contains(boot));
        self.evicted_boots += u64::try_from(surplus.len()).unwrap_or(u64::MAX);
    }

    /// How many boots, costs and devices were evicted because there were too many.
    pub(super) const fn evicted(&self) -> [u64; 3] {
        [self.evicted_boots, self.history.evicted(), self.devices.evicted()]
    }

    fn regression_of(&self, boot: &BootRow) -> Option<Regression> {
        let others: Vec<_> = self.boots.iter().map(|boot| observed_kernel(boot, self.page_size)).collect();
        host_regression(&observed_kernel(boot, self.page_size), &others)
    }

    /// Learns from all namespaces at once, as they are `now`.
    pub(super) fn observe_scan(&mut self, store: &mut EventStore, scan: &ScanResult, now: SystemTime) -> Vec<Body> {
        let mut learned = Vec::new();
        let mut existing = BTreeSet::new();
        for assessed in &scan.namespaces {
            let Some(namespace) = namespace(assessed) else { continue };
            if assessed.map() != Some(Map::Dev) && assessed.namespace.mode.is_ok() {
                continue;
            }
            existing.insert((namespace.start_address, namespace.size_bytes));
            learned.extend(self.cost(assessed, now).map(|cost| self.history.observe(namespace, cost)));
        }
        learned.extend(self.history.retain(&existing));
        self.save(store, learned)
    }

    /// Whether it is time to compare the devices of the dax bus with those under earlier kernels.
    pub(super) fn is_device_comparison_due(&self, since_boot: Duration) -> bool {
        since_boot.saturating_sub(self.devices_compared.unwrap_or_default()) >= DEVICE_INTERVAL
    }

    /// Learns from all devices of the dax bus that no namespace owns.
    pub(super) fn observe_devices(
        &mut self,
        store: &mut EventStore,
        devices: &[AssessedDevice],
        since_boot: Duration,
        now: SystemTime,
    ) -> Vec<Body> {
        self.devices_compared = Some(since_boot);
        let state = |assessed| DeviceState::of(assessed, &self.release, Time(now));
        let keyed = devices.iter().filter_map(|assessed| Some((device_key(assessed)?, state(assessed)))).collect();
        let changes = self.devices.observe(keyed);
        if !changes.is_empty() {
            store.replace_devices(self.devices.records());
        }
        changes.into_iter().filter_map(event_of).collect()
    }

    /// Learns from an event.
    pub(super) fn observe_event(&mut self, store: &mut EventStore, event: &Event) -> Vec<Body> {
        let learned = match &event.body {
            Body::SetUp(setup) => self.set_up(setup, event.time),
            Body::Destroy(change) => change.namespace_uuid.map(|uuid| self.history.destroyed(uuid)).unwrap_or_default(),
            _ => Vec::new(),
        };
        self.save(store, learned)
    }

    /// The regressions that have not ended.
    pub(super) fn regressions(&self) -> Vec<Regression> {
        let of_host = self.host.iter().chain(&self.memmap).cloned();
        of_host.chain(self.history.regressions()).chain(self.devices.regressions()).collect()
    }

    /// Makes the present cost the baseline, and returns the regression that ends with it.
    ///
    /// # Errors
    /// There is none, or it cannot be saved.
    pub(super) fn accept(
        &mut self,
        store: &mut EventStore,
        scope: &BaselineScope,
        acceptance: Acceptance,
    ) -> Result<Regression, AcceptError> {
        match scope {
            BaselineScope::Host => self.accept_host(store, acceptance),
            BaselineScope::Namespace(namespace) => {
                let (record, regression) = self.history.accept_preview(namespace, acceptance)?;
                store.save_costs(std::slice::from_ref(&record)).ok_or(AcceptError::NotSaved)?;
                self.history.replace(record);
                Ok(regression)
            }
            BaselineScope::Device(device) => {
                let (record, regression) = self.devices.accept_preview(device, acceptance)?;
                let records = self.devices.with(&record);
                store.replace_devices(&records).ok_or(AcceptError::NotSaved)?;
                self.devices.replace_all(records);
                Ok(regression)
            }
        }
    }

    /// The running kernel is the one that was learned last: it stays, and all others are set aside.
    fn accept_host(&mut self, store: &mut EventStore, acceptance: Acceptance) -> Result<Regression, AcceptError> {
        let regression = self
            .host
            .clone()
            .or_else(|| self.memmap.clone())
            .ok_or_else(|| AcceptError::NoRegression("the host".to_owned()))?;
        let mut boots = self.boots.clone();
        let (now, others) = boots.split_last_mut().ok_or(AcceptError::UnknownKernel)?;
        if now.max_struct_page_size.is_none() {
            return Err(AcceptError::UnknownKernel);
        }
        now.accepted = Some(acceptance);
        others.iter_mut().for_each(|boot| boot.superseded = true);
        store.save_boots(&boots).ok_or(AcceptError::NotSaved)?;
        (self.boots, self.host, self.memmap) = (boots, None, None);
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

    /// Saves the costs that changed, and returns the events that report the changes.
    fn save(&mut self, store: &mut EventStore, learned: Vec<(CostRecord, RegressionChange)>) -> Vec<Body> {
        let (changed, changes): (Vec<_>, Vec<_>) =
            learned.into_iter().filter(|(_, change)| *change != RegressionChange::Unchanged).unzip();
        if !changed.is_empty() {
            store.save_costs(&changed);
        }
        let evicted = self.history.take_evicted();
        if !evicted.is_empty() {
            store.delete_costs(&evicted);
        }
        changes.into_iter().filter_map(event_of).collect()
    }

    fn cost(&self, assessed: &AssessedNamespace, now: SystemTime) -> Option<Cost> {
        let numbers = &assessed.assessment.numbers;
        let made_with = assessed.facts.block.as_ref().map(|block| u64::from(block.page_struct_size));
        Some(Cost {
            kernel: self.release.clone(),
            seen: Time(now).to_string(),
            reservation_bytes: numbers.reservation?,
            excess_bytes: numbers.excess?,
            max_struct_page_size_bytes: made_with.filter(|bytes| *bytes != 0),
        })
    }
}

/// The row of the running boot; `None` if it has no boot id, without which it cannot be distinguished from others.
pub(super) fn boot_row(
    paths: &Paths,
    facts: &KernelFacts,
    report: &MaxStructPageReport,
    now: SystemTime,
) -> Option<BootRow> {
    Some(BootRow {
        boot_id: boot::id(paths)?,
        module_build_id: boot::libnvdimm_build_id(paths),
        release: facts.release.clone(),
        struct_page_size: facts.struct_page_size,
        max_struct_page_size: report.status.max_struct_page_size_bytes,
        memmap_returned: None,
        evidence: report.status.evidence.clone(),
        first_seen: now,
        last_seen: now,
        superseded: false,
        accepted: None,
    })
}

fn namespace(assessed: &AssessedNamespace) -> Option<NamespaceKey> {
    let it = &assessed.namespace;
    Some(NamespaceKey {
        namespace: it.name.clone(),
        namespace_uuid: it.uuid.clone().ok().filter(|uuid| !uuid.is_nil()),
        start_address: assessed.facts.start?,
        size_bytes: assessed.facts.size?,
    })
}

/// `None` without root: a device is identified by its address.
fn device_key(assessed: &AssessedDevice) -> Option<DeviceKey> {
    let it = &assessed.device;
    Some(DeviceKey {
        device: it.name.clone(),
        serial: it.serial.clone(),
        start_address: it.start()?,
        size_bytes: it.size.clone().ok()?,
    })
}

fn event_of(change: RegressionChange) -> Option<Body> {
    match change {
        RegressionChange::Unchanged | RegressionChange::Recorded => None,
        RegressionChange::Began(it) => Some(Body::CapacityRegression(Box::new(CapacityRegression::begins(*it)))),
        RegressionChange::Ended(it) => Some(Body::CapacityRegressionEnded(Box::new(CapacityRegression::ends(*it)))),
    }
}

#[cfg(test)]
mod device_tests;
#[cfg(test)]
mod tests;
