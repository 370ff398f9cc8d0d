use super::*;
use crate::model::device::AddressRange;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const START: u64 = 46848 * MIB;

fn host() -> KernelParameters {
    KernelParameters::SAMPLE
}

fn hotplug(block_size: u64, memmap_on_memory: bool) -> MemoryHotplug {
    MemoryHotplug { block_size: Ok(block_size), memmap_on_memory: Ok(memmap_on_memory), has_huge_pages: true }
}

fn device(driver: DeviceDriver, start: u64, size: u64) -> MemoryDevice {
    MemoryDevice {
        serial: None,
        name: "dax0.0".to_owned(),
        kind: DeviceKind::Cxl,
        parent: Some("region0".to_owned()),
        driver,
        size: Ok(size),
        align: Ok(2 * MIB),
        target_node: Ok(1),
        ranges: Ok(vec![AddressRange { start, size }]),
        memmap_on_memory: Ok(true),
        state: Err(AttributeError::Absent),
        blocks: Ok(MemoryBlocks::default()),
    }
}

fn kmem(online: u64, offline: u64) -> MemoryDevice {
    MemoryDevice { blocks: Ok(MemoryBlocks { online, offline }), ..device(DeviceDriver::Kmem, START, GIB) }
}

#[test]
fn system_ram_of_1_gib_takes_16_mib_of_dram_if_the_kernels_parameter_is_off() {
    let memory = of_device(&kmem(GIB, 0), &hotplug(128 * MIB, false), &host());
    assert_eq!((memory.place, memory.dram(), memory.on_device()), (Some(MemmapPlace::Dram), Some(16 * MIB), Some(0)));
    assert_eq!((memory.online, memory.usable, memory.stranded), (Some(GIB), Some(GIB), Some(0)));
    assert_eq!((memory.memmap_on_memory, memory.deduplicated), (Some(false), Some(false)));
    assert_eq!(
        memory.notes,
        ["memmap_on_memory has no effect: the kernel's parameter memory_hotplug.memmap_on_memory is off"]
    );
}

#[test]
fn a_memmap_on_memory_takes_the_start_of_each_block() {
    let memory = of_device(&kmem(GIB, 0), &hotplug(128 * MIB, true), &host());
    assert_eq!((memory.place, memory.dram(), memory.on_device()), (Some(MemmapPlace::Device), Some(0), Some(16 * MIB)));
    assert_eq!((memory.usable, memory.online), (Some(GIB - 16 * MIB), Some(GIB)));
    assert_eq!((memory.memmap_on_memory, memory.notes.len()), (Some(true), 0));
    // Not asked for by the device, or by a kernel before 6.8.
    for not_asked in [Ok(false), Err(AttributeError::Absent)] {
        let device = MemoryDevice { memmap_on_memory: not_asked, ..kmem(GIB, 0) };
        let memory = of_device(&device, &hotplug(128 * MIB, true), &host());
        assert_eq!((memory.memmap_on_memory, memory.dram()), (Some(false), Some(16 * MIB)));
    }
}

#[test]
fn a_memmap_that_fills_no_huge_page_is_in_dram() {
    let small = KernelParameters { struct_page: Some(32), ..host() };
    let memory = of_device(&kmem(GIB, 0), &hotplug(128 * MIB, true), &small);
    assert_eq!((memory.memmap_on_memory, memory.dram()), (Some(false), Some(8 * MIB)));
    assert!(memory.notes[0].contains("does not fill huge pages"), "{memory:?}");
    let unknown = MemoryHotplug { has_huge_pages: false, ..hotplug(128 * MIB, true) };
    let memory = of_device(&kmem(GIB, 0), &unknown, &host());
    assert_eq!((memory.place, memory.memmap, memory.dram(), memory.usable), (None, Some(16 * MIB), None, None));
    assert!(memory.notes[0].contains("page block"), "{memory:?}");
}

#[test]
fn what_fills_no_block_is_stranded_and_what_is_missing_is_named() {
    // 2 MiB behind a block's start: the first and the last block are lost.
    let shifted = MemoryDevice {
        blocks: Ok(MemoryBlocks { online: 640 * MIB, offline: 128 * MIB }),
        ..device(DeviceDriver::Kmem, START + 2 * MIB, GIB)
    };
    let memory = of_device(&shifted, &hotplug(128 * MIB, false), &host());
    assert_eq!((memory.stranded, memory.offline, memory.dram()), (Some(128 * MIB), Some(128 * MIB), Some(12 * MIB)));
    assert!(
        memory.notes.iter().any(|note| note == "128 MiB are stranded: they do not fill a memory block"),
        "{memory:?}"
    );
    assert!(memory.notes.iter().any(|note| note == "128 MiB are offline"), "{memory:?}");
    assert!(memory.notes.iter().any(|note| note == "128 MiB are not added as system RAM"), "{memory:?}");
    // With blocks of 2 GiB nothing of it is system RAM.
    let memory = of_device(&kmem(0, 0), &hotplug(2 * GIB, false), &host());
    assert_eq!((memory.stranded, memory.usable, memory.dram()), (Some(GIB), Some(0), Some(0)));
}

#[test]
fn device_dax_deduplicates_and_fsdev_dax_does_not() {
    let hotplug = hotplug(128 * MIB, false);
    let memory = of_device(&device(DeviceDriver::DeviceDax, START, GIB), &hotplug, &host());
    assert_eq!((memory.dram(), memory.deduplicated, memory.usable), (Some(4 * MIB), Some(true), Some(GIB)));
    assert_eq!((memory.online, memory.memmap_on_memory), (None, None));
    let memory = of_device(&device(DeviceDriver::FsdevDax, START, GIB), &hotplug, &host());
    assert_eq!((memory.dram(), memory.deduplicated), (Some(16 * MIB), Some(false)));
    // Who is not root knows no address, and needs none.
    let unprivileged =
        MemoryDevice { ranges: Err(AttributeError::Denied), ..device(DeviceDriver::DeviceDax, START, GIB) };
    assert_eq!(of_device(&unprivileged, &hotplug, &host()).dram(), Some(4 * MIB));
}

#[test]
fn without_a_driver_memory_may_stay_system_ram() {
    let hotplug = hotplug(128 * MIB, false);
    let memory = of_device(&device(DeviceDriver::None, START, GIB), &hotplug, &host());
    assert_eq!((memory.place, memory.dram(), memory.usable), (Some(MemmapPlace::None), Some(0), Some(0)));
    let stuck = MemoryDevice { driver: DeviceDriver::None, ..kmem(GIB, 0) };
    let memory = of_device(&stuck, &hotplug, &host());
    assert_eq!((memory.dram(), memory.online), (Some(16 * MIB), Some(GIB)));
    assert!(memory.notes.iter().any(|note| note.contains("until the next boot")), "{memory:?}");
}

#[test]
fn what_is_unknown_has_its_reason_and_no_number() {
    let hotplug = hotplug(128 * MIB, false);
    let denied = || MemoryDevice {
        ranges: Err(AttributeError::Denied),
        blocks: Err(AttributeError::Denied),
        ..device(DeviceDriver::Kmem, START, GIB)
    };
    let no_size = MemoryDevice { size: Err(AttributeError::Vanished), ..device(DeviceDriver::DeviceDax, START, GIB) };
    let of_namespace = MemoryDevice { kind: DeviceKind::Pmem, ..device(DeviceDriver::DeviceDax, START, GIB) };
    for (device, reason) in [
        (denied(), "run pfnwatch as root"),
        (MemoryDevice { driver: DeviceDriver::None, ..denied() }, "run pfnwatch as root"),
        (no_size, "vanished"),
        (of_namespace, "not in the inventory"),
        (device(DeviceDriver::Other("new".to_owned()), START, GIB), "new, is unknown"),
    ] {
        let memory = of_device(&device, &hotplug, &host());
        assert_eq!((memory.place, memory.memmap, memory.dram(), memory.usable), (None, None, None, None), "{reason}");
        assert!(memory.notes[0].contains(reason), "{reason}: {memory:?}");
    }
}

#[test]
fn without_btf_the_memmap_is_unknown_with_its_reason() {
    let no_btf = KernelParameters { struct_page: None, ..host() };
    for device in [kmem(GIB, 0), device(DeviceDriver::DeviceDax, START, GIB)] {
        let memory = of_device(&device, &hotplug(128 * MIB, false), &no_btf);
        assert_eq!((memory.memmap, memory.dram(), memory.usable), (None, None, Some(GIB)));
        let why = "the bytes of its memmap are unknown: sizeof(struct page) is unknown";
        assert!(memory.notes.iter().any(|note| note == why), "{memory:?}");
    }
}

#[test]
fn another_mode_is_predicted() {
    let hotplug = hotplug(128 * MIB, true);
    let now = device(DeviceDriver::DeviceDax, START, GIB + 2 * MIB);
    let in_dram = as_system_ram(&now, &hotplug, &host(), false);
    assert_eq!((in_dram.dram(), in_dram.usable, in_dram.stranded), (Some(16 * MIB), Some(GIB), Some(2 * MIB)));
    let on_memory = as_system_ram(&now, &hotplug, &host(), true);
    assert_eq!((on_memory.on_device(), on_memory.usable), (Some(16 * MIB), Some(GIB - 16 * MIB)));
    assert_eq!(as_devdax(&now, &host()).dram(), Some(4 * MIB + 8192));
}

proptest::proptest! {
    /// Whatever sysfs contains: no panic, and the parts are no more than the whole.
    #[test]
    fn no_numbers_panic_or_contradict(start: u64, size: u64, block: u64, online: u64, offline: u64, driver in 0_usize..4, on: bool) {
        let driver = [DeviceDriver::DeviceDax, DeviceDriver::Kmem, DeviceDriver::FsdevDax, DeviceDriver::None][driver].clone();
        let device = MemoryDevice { blocks: Ok(MemoryBlocks { online, offline }), ..device(driver, start, size) };
        let memory = of_device(&device, &hotplug(block, on), &host());
        proptest::prop_assert!(memory.stranded.is_none_or(|stranded| stranded <= size));
        let _ = as_system_ram(&device, &hotplug(block, on), &host(), on);
    }
}
