use std::time::UNIX_EPOCH;

use super::*;
use crate::model::device::{DeviceKind, DeviceMemory, MemmapPlace, MemoryDevice};
use crate::model::inventory::AttributeError;
use crate::model::timestamp::Timestamp;

const GIB: u64 = 1 << 30;
const NONE: BTreeMap<u64, MemoryBlocks> = BTreeMap::new();

/// A CXL device of 1 GiB at 4 GiB; `online` as system RAM.
fn device(name: &str, driver: DeviceDriver, online: Option<u64>) -> AssessedDevice {
    let blocks = MemoryBlocks { online: online.unwrap_or(0), offline: 0 };
    let place = if driver == DeviceDriver::None { MemmapPlace::None } else { MemmapPlace::Dram };
    let memmap = online.map_or(4 << 20, |bytes| bytes / 64);
    AssessedDevice {
        device: MemoryDevice {
            name: name.to_owned(),
            kind: DeviceKind::Cxl,
            parent: Some("region0".to_owned()),
            serial: None,
            driver,
            size: Ok(GIB),
            align: Ok(2 << 20),
            target_node: Ok(1),
            ranges: Ok(vec![AddressRange { start: 4 * GIB, size: GIB }]),
            memmap_on_memory: Ok(true),
            state: Err(AttributeError::Absent),
            blocks: Ok(blocks),
        },
        memory: DeviceMemory {
            place: Some(place),
            memmap: Some(memmap),
            memmap_on_memory: online.map(|_| false),
            online,
            offline: online.map(|_| 0),
            ..DeviceMemory::default()
        },
    }
}

fn at(start: u64, mut it: AssessedDevice) -> AssessedDevice {
    it.device.ranges = Ok(vec![AddressRange { start, size: GIB }]);
    it
}

fn busy(mut it: AssessedDevice) -> AssessedDevice {
    it.device.size = Err(AttributeError::Busy(Timestamp::from(UNIX_EPOCH)));
    it
}

fn kinds(before: &[AssessedDevice], after: &[AssessedDevice]) -> Vec<&'static str> {
    differences(before, after, &NONE).iter().map(Body::kind).collect()
}

#[test]
fn each_step_of_a_device_is_one_event() {
    let none = [device("dax0.0", DeviceDriver::None, None)];
    let devdax = [device("dax0.0", DeviceDriver::DeviceDax, None)];
    let kmem = [device("dax0.0", DeviceDriver::Kmem, Some(GIB))];
    let partly = [device("dax0.0", DeviceDriver::Kmem, Some(GIB / 2))];
    let steps: [(&[AssessedDevice], &[AssessedDevice], &str); 6] = [
        (&[], &none, "device_appeared"),
        (&none, &devdax, "device_changed"),
        (&devdax, &kmem, "device_changed"),
        (&kmem, &partly, "device_changed"),
        (&partly, &none, "device_changed"),
        (&none, &[], "device_disappeared"),
    ];
    for (before, after, kind) in steps {
        assert_eq!(kinds(before, after), [kind]);
        assert!(kinds(after, after).is_empty());
    }
    let Some(Body::DeviceChanged(change)) = differences(&devdax, &kmem, &NONE).pop() else { panic!("no change") };
    assert_eq!((change.before.mode, change.after.mode), ("devdax", "system-ram"));
    assert_eq!((change.before.memmap_dram_bytes, change.after.memmap_dram_bytes), (Some(4 << 20), Some(16 << 20)));
    assert_eq!((change.before.online_bytes, change.after.online_bytes), (None, Some(GIB)));
}

#[test]
fn another_device_of_the_same_name_is_another() {
    let first = [device("dax0.0", DeviceDriver::None, None)];
    let second = [at(8 * GIB, device("dax0.0", DeviceDriver::None, None))];
    assert_eq!(kinds(&first, &second), ["device_disappeared", "device_appeared"]);
    let mut of_another = first[0].clone();
    of_another.device.parent = Some("region1".to_owned());
    assert_eq!(kinds(&first, &[of_another]), ["device_disappeared", "device_appeared"]);
    // A reading without root has no address.
    let mut unknown = first[0].clone();
    unknown.device.ranges = Err(AttributeError::Denied);
    assert!(kinds(&first, &[unknown]).is_empty());
}

#[test]
fn a_device_that_is_being_bound_is_as_it_was() {
    let known = [device("dax0.0", DeviceDriver::None, None)];
    let found = vec![
        busy(device("dax0.0", DeviceDriver::Kmem, None)),
        busy(device("dax1.0", DeviceDriver::Kmem, None)),
        device("dax2.0", DeviceDriver::None, None),
    ];
    let now = with_last_known(&known, found);
    assert_eq!(kinds(&known, &now), ["device_appeared"]);
    assert_eq!(now.iter().map(|it| it.device.name.as_str()).collect::<Vec<_>>(), ["dax0.0", "dax2.0"]);
    let mut vanishing = device("dax0.0", DeviceDriver::Kmem, None);
    vanishing.device.blocks = Err(AttributeError::Vanished);
    assert!(kinds(&known, &with_last_known(&known, vec![vanishing])).is_empty());
}

#[test]
fn memory_of_a_device_that_is_gone_may_stay_online() {
    let before = [device("dax0.0", DeviceDriver::Kmem, Some(GIB))];
    let left_of = |left: &BTreeMap<u64, MemoryBlocks>| match differences(&before, &[], left).pop() {
        Some(Body::DeviceDisappeared(it)) => it.left_online_bytes,
        other => panic!("{other:?}"),
    };
    assert_eq!(left_of(&NONE), None, "its blocks could not be read");
    assert_eq!(left_of(&[(4 * GIB, MemoryBlocks { online: GIB, offline: 0 })].into()), Some(GIB));
    assert_eq!(left_of(&[(4 * GIB, MemoryBlocks::default())].into()), Some(0));
}

#[test]
fn removals_are_inferred_where_no_probe_sees_them() {
    let removed = |before: &AssessedDevice, after: Option<&AssessedDevice>, left: &BTreeMap<u64, MemoryBlocks>| {
        let after: Vec<_> = after.into_iter().cloned().collect();
        let found = inferred_removals(std::slice::from_ref(before), &after, left, 4096, Time(UNIX_EPOCH));
        found.iter().map(|it| (it.start, it.size, it.align, it.on_media, it.is_inferred)).collect::<Vec<_>>()
    };
    let none = device("dax0.0", DeviceDriver::None, None);
    let devdax = device("dax0.0", DeviceDriver::DeviceDax, None);
    let kmem = device("dax0.0", DeviceDriver::Kmem, Some(GIB));
    let whole = (4 * GIB, GIB, 4096, Some(false), true);
    assert_eq!(removed(&kmem, Some(&none), &NONE), [whole]);
    assert_eq!(removed(&devdax, Some(&none), &NONE), [(4 * GIB, GIB, 2 << 20, Some(false), true)]);
    assert_eq!(removed(&devdax, None, &NONE), [(4 * GIB, GIB, 2 << 20, Some(false), true)]);
    assert_eq!(removed(&none, Some(&kmem), &NONE), []);
    let partly = device("dax0.0", DeviceDriver::Kmem, Some(GIB / 2));
    assert_eq!(removed(&kmem, Some(&partly), &NONE), [], "which part is not known");
    // With the device gone it counts what is left of its memory.
    assert_eq!(removed(&kmem, None, &[(4 * GIB, MemoryBlocks { online: GIB, offline: 0 })].into()), []);
    assert_eq!(removed(&kmem, None, &[(4 * GIB, MemoryBlocks::default())].into()), [whole]);
    assert_eq!(removed(&kmem, None, &NONE), [], "unknown");
}
