//! Devices of the dax bus under two kernels, over real event stores.

use std::path::Path;
use std::time::Duration;

use super::tests::{acceptance, began, store};
use super::*;
use crate::model::capacity::DeviceRecord;
use crate::model::device::{AssessedDevice, DeviceMemory, MemmapPlace};
use crate::model::inventory::Inventory;
use crate::model::units::Bytes;
use crate::sysfs::inventory::SysfsRoots;
use crate::testing::tree::{DaxDevice, Tree};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MINUTE: Duration = Duration::from_secs(60);

/// 1 GiB of the dax bus as the inventory of a tree has it, with this memory.
fn device(serial: Option<&str>, driver: Option<&'static str>, memory: DeviceMemory) -> AssessedDevice {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::new(folder.path()).unwrap();
    tree.dax_device(&DaxDevice { driver, ..DaxDevice::default() }).unwrap();
    let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned(), dev: None };
    let mut device = Inventory::read(&roots).unwrap().devices.remove(0);
    device.serial = serial.map(str::to_owned);
    AssessedDevice { device, memory }
}

fn ram(online: u64, place: MemmapPlace) -> AssessedDevice {
    let memory =
        DeviceMemory { place: Some(place), memmap: Some(online / 64), online: Some(online), ..DeviceMemory::default() };
    device(None, Some("kmem"), memory)
}

fn mapped(driver: &'static str, memmap: u64, deduplicated: bool) -> AssessedDevice {
    let memory = DeviceMemory {
        place: Some(MemmapPlace::Dram),
        memmap: Some(memmap),
        deduplicated: Some(deduplicated),
        ..DeviceMemory::default()
    };
    device(None, Some(driver), memory)
}

pub(super) fn without_driver() -> AssessedDevice {
    let memory = DeviceMemory { place: Some(MemmapPlace::None), memmap: Some(0), ..DeviceMemory::default() };
    device(None, None, memory)
}

/// What agents of this host report one after the other, and how many regressions there are after each.
fn agents(folder: &Path, seen: &[(&str, &AssessedDevice)]) -> Vec<(Option<Body>, usize)> {
    let agent = |(kernel, device): &(&str, &AssessedDevice)| {
        let mut store = store(folder);
        let mut watch = BaselineWatch::new(&mut store, kernel, 4096);
        let mut observe = |devices| watch.observe_devices(&mut store, devices, MINUTE, SystemTime::UNIX_EPOCH);
        let mut reported = observe(std::slice::from_ref(*device));
        assert_eq!(observe(std::slice::from_ref(*device)), [], "the same again");
        assert!(reported.len() < 2, "{reported:?}");
        (reported.pop(), watch.regressions().len())
    };
    seen.iter().map(agent).collect()
}

/// The regression that begins when a host goes from one kernel to another one.
fn regression(before: &AssessedDevice, after: &AssessedDevice) -> CapacityRegression {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = agents(folder.path(), &[("6.1.1", before), ("6.18.2", after)]);
    let (reported, standing) = seen.pop().unwrap();
    assert_eq!((seen.pop(), standing), (Some((None, 0)), 1));
    let capacity = began(reported);
    let (before, after) = (&capacity.regression.before.kernel, &capacity.regression.after.kernel);
    assert_eq!((before.as_str(), after.as_str()), ("6.1.1", "6.18.2"));
    capacity
}

#[test]
fn each_kind_of_loss_under_a_later_kernel_names_both_kernels_and_the_bytes() {
    let (dram, on_device) = (ram(GIB, MemmapPlace::Dram), ram(GIB, MemmapPlace::Device));
    let cases = [
        (&dram, &on_device, 16 * MIB, "its memmap moved to the device (16 MiB)"),
        (&on_device, &dram, 16 * MIB, "its memmap moved to DRAM (16 MiB)"),
        (
            &mapped("device_dax", 4 * MIB, true),
            &mapped("fsdev_dax", 16 * MIB, false),
            12 * MIB,
            "its memmap is not deduplicated (12 MiB more)",
        ),
        (&dram, &ram(GIB / 2, MemmapPlace::Dram), GIB / 2, "512 MiB fewer are online"),
        (&dram, &without_driver(), GIB, "1 GiB fewer are online"),
    ];
    for (before, after, bytes, said) in cases {
        let capacity = regression(before, after);
        assert_eq!(capacity.lost_bytes, bytes, "{said}");
        let whole = format!("dax0.0 of 1 GiB lost capacity under Linux 6.18.2, compared with Linux 6.1.1: {said}");
        assert_eq!(capacity.detail, whole);
    }
    // Of several losses each counts.
    let both = regression(&on_device, &ram(GIB / 2, MemmapPlace::Dram));
    assert_eq!(Bytes(both.lost_bytes).to_string(), "520 MiB");
    let json = serde_json::to_value(&both).unwrap();
    assert_eq!((&json["subject"], &json["device"]), (&"device".into(), &"dax0.0".into()));
    assert_eq!(json["losses"][0], serde_json::json!({"loss": "memmap_moved", "to": "dram", "bytes": 8 * MIB}));
}

#[test]
fn what_gains_or_is_as_before_is_no_regression() {
    let dram = ram(GIB, MemmapPlace::Dram);
    let unknown = device(None, Some("kmem"), DeviceMemory::default());
    for (before, after) in [
        (&dram, &dram),
        (&ram(GIB / 2, MemmapPlace::Dram), &dram),
        (&mapped("fsdev_dax", 16 * MIB, false), &mapped("device_dax", 4 * MIB, true)),
        // No system RAM is deduplicated.
        (&mapped("device_dax", 4 * MIB, true), &dram),
        (&dram, &unknown),
        (&unknown, &dram),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let seen = agents(folder.path(), &[("6.1.1", before), ("6.18.2", after)]);
        assert_eq!(seen, [(None, 0), (None, 0)], "{after:?}");
    }
}

#[test]
fn a_person_who_reconfigures_a_device_under_the_same_kernel_is_no_regression() {
    let folder = tempfile::tempdir().unwrap();
    let (online, less, none) = (ram(GIB, MemmapPlace::Dram), ram(GIB / 2, MemmapPlace::Dram), without_driver());
    let on_device = ram(GIB, MemmapPlace::Device);
    let same = [
        &online,
        &less,
        &on_device,
        &none,
        &mapped("device_dax", 4 * MIB, true),
        &mapped("fsdev_dax", 16 * MIB, false),
    ];
    let seen = agents(folder.path(), &same.map(|device| ("6.1.1", device)));
    assert!(seen.iter().all(|it| *it == (None, 0)), "{seen:?}");
    // What a person has made of it is what the next kernel is compared with.
    assert_eq!(agents(folder.path(), &[("6.18.2", &mapped("fsdev_dax", 16 * MIB, false))]), [(None, 0)]);
    // After a kernel that keeps all, too.
    assert_eq!(agents(folder.path(), &[("6.18.2", &online), ("6.18.2", &less)]), [(None, 0), (None, 0)]);
}

#[test]
fn a_regression_ends_when_its_device_is_as_before_gone_or_in_another_mode() {
    let (online, less) = (ram(GIB, MemmapPlace::Dram), ram(GIB / 2, MemmapPlace::Dram));
    for end in [("6.1.1", &online), ("6.18.2", &online), ("6.18.2", &without_driver()), ("7.0.0", &online)] {
        let folder = tempfile::tempdir().unwrap();
        let seen = agents(folder.path(), &[("6.1.1", &online), ("6.18.2", &less), end]);
        let [_, (Some(Body::CapacityRegression(_)), 1), (Some(Body::CapacityRegressionEnded(it)), 0)] = &seen[..]
        else {
            panic!("{end:?}: {seen:?}")
        };
        assert_eq!(it.lost_bytes, 0);
    }
    let folder = tempfile::tempdir().unwrap();
    agents(folder.path(), &[("6.1.1", &online), ("6.18.2", &less)]);
    let mut store = store(folder.path());
    let mut watch = BaselineWatch::new(&mut store, "6.18.2", 4096);
    assert_eq!(watch.regressions().len(), 1, "the next agent knows it");
    let gone = watch.observe_devices(&mut store, &[], MINUTE, SystemTime::UNIX_EPOCH);
    assert!(matches!(gone[..], [Body::CapacityRegressionEnded(_)]), "{gone:?}");
    // It comes back as it was.
    began(watch.observe_devices(&mut store, std::slice::from_ref(&less), MINUTE, SystemTime::UNIX_EPOCH).pop());
}

#[test]
fn a_device_is_known_by_its_address_and_its_serial() {
    let with = |serial, start, online| {
        let it = AssessedDevice {
            device: device(Some(serial), Some("kmem"), DeviceMemory::default()).device,
            ..ram(online, MemmapPlace::Dram)
        };
        moved(&it, start)
    };
    let before = with("0x1", 4 * GIB, GIB);
    for (after, count) in [
        (with("0x1", 4 * GIB, GIB / 2), 1),
        (with("0x1", 8 * GIB, GIB / 2), 1),
        (with("0x2", 4 * GIB, GIB / 2), 0),
        (with("0x2", 8 * GIB, GIB / 2), 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let seen = agents(folder.path(), &[("6.1.1", &before), ("6.18.2", &after)]);
        assert_eq!(seen[1].1, count, "{:?}", after.device);
    }
}

#[test]
fn what_is_accepted_is_the_baseline_for_the_next_agents() {
    let folder = tempfile::tempdir().unwrap();
    let (online, less) = (ram(GIB, MemmapPlace::Dram), ram(GIB / 2, MemmapPlace::Dram));
    agents(folder.path(), &[("6.1.1", &online), ("6.18.2", &less)]);
    let accept = |which: &str| {
        let mut store = store(folder.path());
        let mut watch = BaselineWatch::new(&mut store, "6.18.2", 4096);
        let accepted = watch.accept(&mut store, &BaselineScope::Device(which.to_owned()), acceptance());
        (accepted.map(|it| it.lost_bytes()), watch.regressions().len())
    };
    assert_eq!(accept("dax7.0"), (Err(AcceptError::NoRegression("dax7.0".to_owned())), 1));
    assert_eq!(accept("dax0.0"), (Ok(GIB / 2), 0));
    assert_eq!(store(folder.path()).devices().unwrap()[0].accepted, Some(acceptance()));
    assert_eq!(agents(folder.path(), &[("6.18.2", &less), ("7.0.0", &less)]), [(None, 0), (None, 0)]);
}

#[test]
fn devices_are_compared_every_five_minutes_and_not_while_a_host_starts() {
    let mut store = EventStore::disabled();
    let mut watch = BaselineWatch::new(&mut store, "6.1.1", 4096);
    assert!(!watch.is_device_comparison_due(4 * MINUTE) && watch.is_device_comparison_due(5 * MINUTE));
    watch.observe_devices(&mut store, &[], 6 * MINUTE, SystemTime::UNIX_EPOCH);
    assert!(!watch.is_device_comparison_due(10 * MINUTE) && watch.is_device_comparison_due(11 * MINUTE));
}

#[test]
fn of_too_many_devices_the_oldest_that_is_gone_is_evicted() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder);
    let state = |number: u64| {
        DeviceState::of(&without_driver(), "6.1.1", Time(SystemTime::UNIX_EPOCH + Duration::from_secs(60 * number)))
    };
    let gone = |number: u64| DeviceRecord {
        device: DeviceKey {
            device: "dax9.0".into(),
            serial: None,
            start_address: (100 + number) * GIB,
            size_bytes: GIB,
        },
        last: None,
        baseline: state(number).unwrap(),
        accepted: None,
    };
    // The first one lost something under this kernel.
    let lost = DeviceState::of(&ram(GIB, MemmapPlace::Dram), "6.0.1", Time(SystemTime::UNIX_EPOCH)).unwrap();
    let regressed = DeviceRecord { last: state(0), baseline: lost, ..gone(0) };
    let records: Vec<_> = std::iter::once(regressed.clone()).chain((1..1024).map(gone)).collect();
    store.replace_devices(&records).unwrap();
    let mut watch = BaselineWatch::new(&mut store, "6.1.1", 4096);
    assert_eq!(watch.regressions().len(), 1);
    let there = [without_driver(), moved(&without_driver(), 100 * GIB)];
    watch.observe_devices(&mut store, &there, MINUTE, SystemTime::UNIX_EPOCH);
    let kept = store.devices().unwrap();
    assert_eq!((kept.len(), watch.evicted(), watch.regressions().len()), (1024, [0, 0, 1], 1));
    assert!(kept.contains(&records[2]) && !kept.contains(&records[1]), "the oldest that is gone");
}

fn moved(device: &AssessedDevice, start: u64) -> AssessedDevice {
    let mut device = device.clone();
    device.device.ranges.as_mut().unwrap()[0].start = start;
    device
}
