use std::fs;
use std::os::unix::fs::symlink;
use std::time::Instant;

use super::*;
use crate::model::inventory::Inventory;
use crate::sysfs::inventory::SysfsRoots;
use crate::testing::tree::{CXL, DaxDevice, Pmem, Tree};

const MIB: u64 = 1 << 20;
const BLOCK: u64 = 128 * MIB;
/// The first block of the device by default.
const FIRST: u64 = 366;

fn inventory(build: impl Fn(&Tree) -> std::io::Result<()>) -> Inventory {
    let folder = tempfile::tempdir().unwrap();
    build(&Tree::new(folder.path()).unwrap()).unwrap();
    let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned(), dev: None };
    Inventory::read(&roots).unwrap()
}

#[test]
fn a_device_has_its_parent_driver_and_memory_blocks() {
    let found = inventory(|tree| {
        tree.memory_hotplug(BLOCK, "force")?;
        tree.memory_blocks(FIRST - 1..FIRST + 6, "online")?;
        tree.memory_blocks(FIRST + 6..FIRST + 10, "offline")?;
        tree.dax_device(&DaxDevice { driver: Some("kmem"), ..DaxDevice::default() })?;
        tree.dax_device(&DaxDevice { name: "dax1.0", place: "platform/hmem.1", ..DaxDevice::default() })?;
        let place = "LNXSYSTM:00/ndbus0/region2/dax2.1";
        tree.dax_device(&DaxDevice { name: "dax2.0", place, driver: Some("device_dax"), ..DaxDevice::default() })
    });
    let [cxl, hmem, pmem] = &found.devices[..] else { panic!("{found:?}") };
    assert_eq!((cxl.kind, cxl.parent.as_deref(), &cxl.driver), (DeviceKind::Cxl, Some("region0"), &DeviceDriver::Kmem));
    assert_eq!(cxl.blocks, Ok(MemoryBlocks { online: 6 * BLOCK, offline: 2 * BLOCK }));
    assert_eq!(cxl.ranges, Ok(vec![AddressRange { start: FIRST * BLOCK, size: 1 << 30 }]));
    assert_eq!((&cxl.target_node, &cxl.memmap_on_memory, &cxl.align), (&Ok(1), &Ok(true), &Ok(2 * MIB)));
    assert_eq!(
        (hmem.kind, hmem.parent.as_deref(), &hmem.driver),
        (DeviceKind::Hmem, Some("hmem.1"), &DeviceDriver::None)
    );
    assert_eq!((pmem.kind, pmem.parent.as_deref()), (DeviceKind::Pmem, Some("region2")));
    let MemoryHotplug { block_size, memmap_on_memory, has_huge_pages } = found.hotplug;
    assert_eq!((block_size, memmap_on_memory, has_huge_pages), (Ok(BLOCK), Ok(true), true));
}

/// The part of a CXL region's tree that leads to its devices.
fn cxl_region(tree: &Tree, serials: &[&str]) -> std::io::Result<()> {
    let (cxl, devices) = (tree.path("bus/cxl/devices"), tree.path("devices/cxl"));
    let region = cxl.join("region0");
    fs::create_dir_all(&region)?;
    fs::write(region.join("interleave_ways"), format!("{}\n", serials.len()))?;
    for (number, serial) in serials.iter().enumerate() {
        let (endpoint, memory) = (devices.join(format!("endpoint{number}")), devices.join(format!("mem{number}")));
        let decoder = format!("decoder{number}.0");
        fs::create_dir_all(endpoint.join(&decoder))?;
        fs::create_dir_all(&memory)?;
        fs::write(memory.join("serial"), format!("{serial}\n"))?;
        symlink(memory, endpoint.join("uport"))?;
        symlink(endpoint.join(&decoder), cxl.join(&decoder))?;
        fs::write(region.join(format!("target{number}")), format!("{decoder}\n"))?;
    }
    Ok(())
}

#[test]
fn cxl_memory_has_the_serial_numbers_of_its_devices() {
    let serial = |serials: &[&str]| {
        let found = inventory(|tree| {
            tree.dax_device(&DaxDevice::default())?;
            cxl_region(tree, serials)
        });
        found.devices[0].serial.clone()
    };
    assert_eq!(serial(&["0x1"]).as_deref(), Some("0x1"));
    assert_eq!(serial(&["0x1", "0xabc"]).as_deref(), Some("0x1+0xabc"));
    // None that counts, or an empty region.
    for serials in [&["0x1", "0x0"][..], &["x"], &[]] {
        assert_eq!(serial(serials), None, "{serials:?}");
    }
    let hmem = inventory(|tree| {
        cxl_region(tree, &["0x1"])?;
        tree.dax_device(&DaxDevice { place: "platform/hmem.1", ..DaxDevice::default() })
    });
    assert_eq!(hmem.devices[0].serial, None);
}

#[test]
fn devices_of_namespaces_and_devices_without_memory_are_left_out() {
    let found = inventory(|tree| {
        let devdax = Pmem { dax: true, ..Pmem::default() };
        tree.region(0, devdax.start, 64 << 30)?;
        tree.namespace(&devdax)?;
        let place = "LNXSYSTM:00/ndbus0/region0/dax0.1";
        tree.dax_device(&DaxDevice { place, ..DaxDevice::default() })?;
        let empty = DaxDevice { name: "dax1.1", place: "platform/hmem.1", ..DaxDevice::default() };
        tree.dax_device(&empty)?;
        fs::write(tree.dax_folder(&empty).join("size"), "0")?;
        // The link of one that has just gone.
        let gone = DaxDevice { name: "dax1.2", ..empty };
        tree.dax_device(&gone)?;
        fs::remove_dir_all(tree.dax_folder(&gone))
    });
    assert_eq!((found.namespaces.len(), found.devices.len()), (1, 0), "{:?}", found.devices);
}

#[test]
fn what_cannot_be_read_has_its_reason() {
    let found = inventory(|tree| {
        let old = DaxDevice { memmap_on_memory: None, ..DaxDevice::default() };
        tree.dax_device(&old)?;
        let folder = tree.dax_folder(&old);
        fs::remove_file(folder.join("align"))?;
        fs::write(folder.join("target_node"), "x")?;
        fs::write(folder.join("mapping0/end"), "0x0")
    });
    let [device] = &found.devices[..] else { panic!("{found:?}") };
    assert_eq!((&device.align, &device.state), (&Err(AttributeError::Absent), &Err(AttributeError::Absent)));
    assert_eq!(device.target_node, Err(AttributeError::Malformed("x".to_owned())));
    assert!(matches!(device.ranges, Err(AttributeError::Malformed(_))), "{:?}", device.ranges);
    assert_eq!(device.blocks, device.ranges.clone().map(|_| MemoryBlocks::default()));
    assert_eq!(found.hotplug.block_size, Err(AttributeError::Absent));
    // As from 5.10: no mappings.
    let found = inventory(|tree| {
        tree.dax_device(&DaxDevice::default())?;
        fs::remove_dir_all(tree.dax_folder(&DaxDevice::default()).join("mapping0"))
    });
    assert_eq!(found.devices[0].start(), Some(FIRST * BLOCK));
}

#[test]
fn a_dax_bus_alone_is_read() {
    let found = inventory(|tree| {
        tree.dax_device(&DaxDevice::default())?;
        fs::remove_dir_all(tree.device(""))
    });
    assert_eq!((found.regions.len(), found.devices.len()), (0, 1));
}

/// Ten times as many devices take some ten times as long, not a hundred times.
#[test]
fn many_devices_are_read_in_linear_time() {
    let seconds = |count: u32| {
        // Thousands of files: in memory, if there is such a place.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let tree = Tree::new(folder.path()).unwrap();
        tree.memory_hotplug(BLOCK, "N").unwrap();
        tree.memory_blocks(0..u64::from(count), "online").unwrap();
        for number in 0..count {
            let name: &str = Box::leak(format!("dax{number}.0").into_boxed_str());
            let start = u64::from(number) * BLOCK;
            tree.dax_device(&DaxDevice { name, place: CXL, start, size: BLOCK, ..DaxDevice::default() }).unwrap();
        }
        let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned(), dev: None };
        let began = Instant::now();
        let found = Inventory::read(&roots).unwrap().devices;
        assert_eq!(found.len(), usize::try_from(count).unwrap());
        assert!(found.iter().all(|it| it.blocks == Ok(MemoryBlocks { online: BLOCK, offline: 0 })));
        began.elapsed().as_secs_f64()
    };
    let (few, many) = (seconds(300), seconds(3_000));
    assert!(many < 40.0 * few, "300 take {few} s, 3,000 take {many} s");
}

#[test]
fn a_reading_has_devices_and_what_is_left_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::new(folder.path()).unwrap();
    let roots = SysfsRoots { sysfs: folder.path().to_owned(), procfs: folder.path().to_owned(), dev: None };
    let gone = AddressRange { start: 8 * BLOCK, size: 4 * BLOCK };
    let read =
        || DeviceReading::read(&roots, vec![gone, AddressRange { start: FIRST * BLOCK, size: 1 << 30 }]).unwrap();
    assert!(!DeviceReading::has_devices(&roots));
    assert_eq!(read().blocks.get(&gone.start), Some(&MemoryBlocks::default()), "a kernel that adds no memory");
    tree.memory_hotplug(BLOCK, "N").unwrap();
    tree.memory_blocks(8..10, "online").unwrap();
    let place = "LNXSYSTM:00/ndbus0/region2/dax2.1";
    tree.dax_device(&DaxDevice { name: "dax2.0", place, ..DaxDevice::default() }).unwrap();
    assert!(!DeviceReading::has_devices(&roots), "a namespace owns it");
    tree.dax_device(&DaxDevice::default()).unwrap();
    assert!(DeviceReading::has_devices(&roots));
    let found = read();
    assert_eq!(found.devices.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["dax0.0"]);
    let left = MemoryBlocks { online: 2 * BLOCK, offline: 0 };
    assert_eq!(found.blocks, [(gone.start, left)].into(), "the other range is a device's");
}
