//! Devices of the dax bus under this kernel, compared with earlier ones.

use super::{RegressionChange, change};
use crate::model::capacity::{AcceptError, Acceptance, DeviceKey, DeviceRecord, DeviceState, Regression, losses};

/// The limit of devices that are tracked: those that are gone are evicted first, and those with a regression last; of these the one that
/// was seen the longest ago.
const MAX_DEVICES: usize = 1024;

#[derive(Debug, Default)]
pub struct DeviceHistory {
    records: Vec<DeviceRecord>,
    evicted: u64,
}

impl DeviceHistory {
    #[must_use]
    pub fn new(records: Vec<DeviceRecord>) -> Self {
        Self { records, evicted: 0 }
    }

    /// Records what all devices that are there serve now; `None` for one of which too little is known. Returns what has changed;
    /// an empty list if nothing has to be saved.
    pub fn observe(&mut self, devices: Vec<(DeviceKey, Option<DeviceState>)>) -> Vec<RegressionChange> {
        let mut earlier: Vec<_> = std::mem::take(&mut self.records).into_iter().map(Some).collect();
        let by_place: Vec<_> = devices.iter().map(|(device, _)| take(&mut earlier, |it| is_at(it, device))).collect();
        let mut changes = Vec::new();
        for ((device, now), known) in devices.into_iter().zip(by_place) {
            let known = known.or_else(|| take(&mut earlier, |it| has_moved(it, &device)));
            let Some(record) = next(known.as_ref(), device, now) else { continue };
            note(&mut changes, known.as_ref(), &record);
            self.records.push(record);
        }
        for known in earlier.into_iter().flatten() {
            let record = DeviceRecord { last: None, ..known.clone() };
            note(&mut changes, Some(&known), &record);
            self.records.push(record);
        }
        self.evict_surplus();
        changes
    }

    /// A regressed device by its name, its serial or its first address (`0x…`), as it would be after that is accepted.
    pub fn accept_preview(
        &self,
        which: &str,
        acceptance: Acceptance,
    ) -> Result<(DeviceRecord, Regression), AcceptError> {
        let is_it = |record: &&DeviceRecord| {
            let DeviceKey { device, serial, start_address, .. } = &record.device;
            device == which || serial.as_deref() == Some(which) || format!("{start_address:#x}") == which
        };
        let mut found = self.records.iter().filter(is_it).filter_map(|record| Some((record, record.regression()?)));
        match (found.next(), found.next()) {
            (Some((record, regression)), None) => Ok((record.accepted(acceptance), regression)),
            (Some(_), Some(_)) => Err(AcceptError::Ambiguous(which.to_owned())),
            (None, _) => Err(AcceptError::NoRegression(which.to_owned())),
        }
    }

    /// The records, with this one instead of that of the same device.
    #[must_use]
    pub fn with(&self, record: &DeviceRecord) -> Vec<DeviceRecord> {
        let replaced = |known: &DeviceRecord| if known.device == record.device { record } else { known }.clone();
        self.records.iter().map(replaced).collect()
    }

    pub fn replace_all(&mut self, records: Vec<DeviceRecord>) {
        self.records = records;
    }

    #[must_use]
    pub fn records(&self) -> &[DeviceRecord] {
        &self.records
    }

    pub fn regressions(&self) -> impl Iterator<Item = Regression> {
        self.records.iter().filter_map(DeviceRecord::regression)
    }

    /// How many devices were evicted so far.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn evict_surplus(&mut self) {
        let surplus = self.records.len().saturating_sub(MAX_DEVICES);
        if surplus > 0 {
            let rank = |it: &DeviceRecord| (it.regression().is_some(), it.last.is_some(), it.baseline.seen.clone());
            self.records.sort_by_cached_key(rank);
            self.records.drain(..surplus);
            self.evicted = self.evicted.saturating_add(u64::try_from(surplus).unwrap_or(u64::MAX));
        }
    }
}

fn take(records: &mut [Option<DeviceRecord>], is_it: impl Fn(&DeviceKey) -> bool) -> Option<DeviceRecord> {
    records.iter_mut().find(|record| record.as_ref().is_some_and(|record| is_it(&record.device)))?.take()
}

/// Another device in the same place has another serial. An older kernel may not have shown it.
fn is_at(known: &DeviceKey, device: &DeviceKey) -> bool {
    let is_other = known.serial.as_ref().zip(device.serial.as_ref()).is_some_and(|(known, now)| known != now);
    known.start_address == device.start_address && !is_other
}

/// Firmware and kernels may place the same device elsewhere.
fn has_moved(known: &DeviceKey, device: &DeviceKey) -> bool {
    device.serial.is_some() && known.serial == device.serial && known.size_bytes == device.size_bytes
}

/// What is known of a device from now on; `None` if that is nothing.
fn next(known: Option<&DeviceRecord>, mut device: DeviceKey, now: Option<DeviceState>) -> Option<DeviceRecord> {
    let Some(known) = known else {
        return now.map(|now| DeviceRecord { device, last: Some(now.clone()), baseline: now, accepted: None });
    };
    let Some(now) = now else { return Some(known.clone()) };
    device.serial = device.serial.or_else(|| known.device.serial.clone());
    let is_like = |it: &DeviceState| it.kernel == now.kernel && it.is_like(&now);
    if known.device == device && known.last.as_ref().is_some_and(is_like) {
        return Some(known.clone());
    }
    let lost = known.baseline.kernel != now.kernel && !losses(&known.baseline, &now).is_empty();
    let baseline = if lost && !is_reconfigured(known, &now) {
        known.baseline.clone()
    } else {
        now.clone().completed_by(&known.baseline)
    };
    let accepted = known.accepted.clone().filter(|_| baseline.is_like(&known.baseline));
    Some(DeviceRecord { device, last: Some(now), baseline, accepted })
}

/// Whether a person has changed it: under the same kernel it was seen without a regression, or in another mode.
fn is_reconfigured(known: &DeviceRecord, now: &DeviceState) -> bool {
    let last = known.last.as_ref().filter(|last| last.kernel == now.kernel);
    last.is_some_and(|last| last.mode != now.mode || known.regression().is_none())
}

fn note(changes: &mut Vec<RegressionChange>, before: Option<&DeviceRecord>, after: &DeviceRecord) {
    if before != Some(after) {
        changes.push(change(before.and_then(DeviceRecord::regression), after.regression()));
    }
}
