//! What happened to devices that no namespace owns, from two readings of the dax bus.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::model::device::{AddressRange, AssessedDevice, DeviceDriver, MemoryBlocks};
use crate::model::event::{Body, DeviceAppeared, DeviceChanged, DeviceDisappeared, DeviceId, DeviceUse, Time};
use crate::model::memmap_return::MemmapRemoval;

/// The devices as far as they are known: of one that is being bound, or went away while it was read, what was known before.
#[must_use]
pub fn with_last_known(before: &[AssessedDevice], found: Vec<AssessedDevice>) -> Vec<AssessedDevice> {
    let known: BTreeMap<_, _> = before.iter().map(|it| (it.device.name.as_str(), it)).collect();
    let complete = |found: AssessedDevice| {
        if found.device.is_completely_read() {
            return Some(found);
        }
        // Its address may be what could not be read.
        let known = known.get(found.device.name.as_str())?;
        (known.device.parent == found.device.parent).then(|| (*known).clone())
    };
    found.into_iter().filter_map(complete).collect()
}

/// The events of what happened to devices between two moments, those that are gone first. `left`: which memory blocks there are now
/// where a device was, by the address of its first byte.
#[must_use]
pub fn differences(
    before: &[AssessedDevice],
    after: &[AssessedDevice],
    left: &BTreeMap<u64, MemoryBlocks>,
) -> Vec<Body> {
    let (old, new) = (by_name(before), by_name(after));
    let gone = before.iter().filter(|it| same(it, &new).is_none()).map(|it| Body::from(disappeared(it, left)));
    let others = after.iter().filter_map(|now| match same(now, &old) {
        None => Some(Body::DeviceAppeared(DeviceAppeared { id: now.into(), used: now.into() })),
        Some(then) => changed(then, now),
    });
    gone.chain(others).collect()
}

type ByName<'a> = BTreeMap<&'a str, &'a AssessedDevice>;

fn by_name(devices: &[AssessedDevice]) -> ByName<'_> {
    devices.iter().map(|it| (it.device.name.as_str(), it)).collect()
}

/// The same device at the other moment. The kernel gives a name to another device once it is free.
fn same<'a>(it: &AssessedDevice, others: &ByName<'a>) -> Option<&'a AssessedDevice> {
    let other = *others.get(it.device.name.as_str())?;
    let moved = it.device.start().zip(other.device.start()).is_some_and(|(one, other)| one != other);
    (it.device.parent == other.device.parent && !moved).then_some(other)
}

fn changed(then: &AssessedDevice, now: &AssessedDevice) -> Option<Body> {
    let (before, after) = (DeviceUse::from(then), DeviceUse::from(now));
    (before != after).then(|| Body::DeviceChanged(Box::new(DeviceChanged { id: now.into(), before, after })))
}

fn disappeared(it: &AssessedDevice, left: &BTreeMap<u64, MemoryBlocks>) -> DeviceDisappeared {
    let online = |range: &AddressRange| left.get(&range.start).map(|blocks| blocks.online);
    let online = it.device.ranges.iter().flatten().map(online);
    let known = it.device.ranges.is_ok();
    DeviceDisappeared {
        id: DeviceId::from(it),
        before: DeviceUse::from(it),
        left_online_bytes: online.sum::<Option<u64>>().filter(|_| known),
    }
}

impl From<DeviceDisappeared> for Body {
    fn from(it: DeviceDisappeared) -> Self {
        Self::DeviceDisappeared(Box::new(it))
    }
}

/// The memmaps that were removed between two moments, for a host where no probe sees that.
#[must_use]
pub fn inferred_removals(
    before: &[AssessedDevice],
    after: &[AssessedDevice],
    left: &BTreeMap<u64, MemoryBlocks>,
    page_size: u64,
    time: Time,
) -> Vec<MemmapRemoval> {
    let new = by_name(after);
    let removals = |then: &AssessedDevice| {
        let now = same(then, &new);
        let driver = &then.device.driver;
        let is_removed = match driver {
            DeviceDriver::DeviceDax | DeviceDriver::FsdevDax => now.is_none_or(|now| now.device.driver != *driver),
            DeviceDriver::Kmem | DeviceDriver::None => is_no_longer_added(then, now, left),
            DeviceDriver::Other(_) => false,
        };
        let align = match driver {
            DeviceDriver::DeviceDax => then.device.align.clone().unwrap_or(page_size),
            _ => page_size,
        };
        let on_media = match driver {
            DeviceDriver::DeviceDax | DeviceDriver::FsdevDax => Some(false),
            _ => then.memory.memmap_on_memory,
        };
        let ranges = then.device.ranges.clone().unwrap_or_default().into_iter().filter(move |_| is_removed);
        let removal = move |AddressRange { start, size }| MemmapRemoval {
            time,
            start,
            size,
            align,
            on_media,
            is_inferred: true,
            by: None,
        };
        ranges.map(removal).collect::<Vec<_>>()
    };
    before.iter().flat_map(removals).collect()
}

/// Whether memory blocks of a device were added then, and none are now. What is removed in part is not known by address.
fn is_no_longer_added(then: &AssessedDevice, now: Option<&AssessedDevice>, left: &BTreeMap<u64, MemoryBlocks>) -> bool {
    let was_added = then.device.blocks.as_ref().is_ok_and(|blocks| blocks.present() > 0);
    let is_gone = match now {
        Some(now) => now.device.blocks.as_ref().is_ok_and(|blocks| blocks.present() == 0),
        None => then.device.ranges.iter().flatten().all(|it| left.get(&it.start).is_some_and(|it| it.present() == 0)),
    };
    was_added && is_gone
}
