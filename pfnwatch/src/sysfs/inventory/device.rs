//! The devices of the dax bus that no namespace owns, and how the kernel adds memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;

use super::attribute::Directory;
use super::{Bus, SysfsRoots, list, numbered, read_all};
use crate::model::device::{AddressRange, DeviceDriver, DeviceKind, MemoryBlocks, MemoryDevice, MemoryHotplug};
use crate::model::inventory::{Attribute, AttributeError, Namespace, SysfsMode};
use crate::os::sysconf::page_size;
use crate::sysfs::busy::{self, Reads};

/// A device has as many ranges as its region is fragmented; more is a broken tree.
const MAX_RANGES: u32 = 4096;

/// CXL interleaves over at most 16 devices; more is a broken tree.
const MAX_TARGETS: u64 = 16;

/// The names of dax bus devices that belong to a namespace in devdax mode: the kernel names them after it.
pub(super) fn owned(namespaces: &[Namespace]) -> BTreeSet<String> {
    let devdax = |namespace: &&Namespace| matches!(namespace.mode, Ok(SysfsMode::Dax) | Err(_));
    namespaces.iter().filter(devdax).filter_map(Namespace::character_device).collect()
}

/// The devices of the dax bus that belong to no namespace bus, and memory blocks, at one moment.
#[derive(Debug)]
pub struct DeviceReading {
    pub devices: Vec<MemoryDevice>,
    pub hotplug: MemoryHotplug,
    /// The memory blocks of each range that was asked for and is no device's now, by the address of its first byte.
    pub blocks: BTreeMap<u64, MemoryBlocks>,
}

impl DeviceReading {
    /// Reads the devices, and which memory blocks these ranges have if they are no device's any more. Of a device that is being bound its size is
    /// [`Busy`](AttributeError::Busy).
    ///
    /// # Errors
    /// The list of devices cannot be read, or too many devices are being bound.
    pub fn read(roots: &SysfsRoots, ranges: Vec<AddressRange>) -> anyhow::Result<Self> {
        let sysfs = roots.sysfs.clone();
        let read = move |reads: &Arc<Reads>| Self::read_watched(&sysfs, &ranges, reads);
        busy::read_around_binds(read).context("reading sysfs")?
    }

    fn read_watched(sysfs: &Path, ranges: &[AddressRange], reads: &Arc<Reads>) -> anyhow::Result<Self> {
        let memory = Memory::open(sysfs);
        let mut devices = Vec::new();
        if let Some(Bus { names, devices: directory }) = Bus::open(&sysfs.join("bus/dax/devices"), reads)? {
            let is_own = |name: &&str| directory.target(name).is_some_and(|it| place(&it).0 != DeviceKind::Pmem);
            let names: Vec<_> = numbered(&names, "dax").into_iter().filter(is_own).collect();
            let cxl = Directory::open_watched(&sysfs.join("bus/cxl/devices"), reads).ok();
            devices = read_all(&names, |name| MemoryDevice::read(&directory, &memory, cxl.as_ref(), name));
        }
        let known: BTreeSet<_> = devices.iter().flat_map(|it| it.ranges.iter().flatten()).map(|it| it.start).collect();
        let others = ranges.iter().filter(|range| !known.contains(&range.start));
        let blocks = |range: &AddressRange| match memory.blocks(std::slice::from_ref(range)) {
            // A kernel that adds no memory.
            Err(AttributeError::Absent) => Some((range.start, MemoryBlocks::default())),
            blocks => Some((range.start, blocks.ok()?)),
        };
        Ok(Self { hotplug: memory.hotplug(sysfs), blocks: others.filter_map(blocks).collect(), devices })
    }

    /// Whether there is such a device. Reads nothing that a bind can hold up.
    #[must_use]
    pub fn has_devices(roots: &SysfsRoots) -> bool {
        let root = roots.sysfs.join("bus/dax/devices");
        let is_own = |name: &String| {
            std::fs::read_link(root.join(name)).is_ok_and(|target| place(&target).0 != DeviceKind::Pmem)
        };
        list(&root).is_ok_and(|names| names.iter().any(is_own))
    }
}

impl MemoryDevice {
    /// `None` for one without memory, and for one that is gone.
    pub(super) fn read(bus: &Directory, memory: &Memory, cxl: Option<&Directory>, name: &str) -> Option<Self> {
        let directory = bus.child(name).ok()?;
        let (kind, parent) = bus.target(name).map_or((DeviceKind::Other, None), |target| place(&target));
        let size = directory.number("size");
        if matches!(size, Ok(0) | Err(AttributeError::Vanished)) {
            return None;
        }
        let ranges = ranges(&directory, &size);
        let region = parent.as_deref().filter(|_| kind == DeviceKind::Cxl);
        let serial = cxl.zip(region).and_then(|(cxl, region)| serial(cxl, region));
        let blocks = ranges.clone().and_then(|ranges| memory.blocks(&ranges));
        Some(Self {
            name: name.to_owned(),
            kind,
            parent,
            serial,
            driver: driver(directory.link("driver")),
            size,
            align: directory.number("align"),
            target_node: directory.read("target_node", |text| text.parse().ok()),
            ranges,
            memmap_on_memory: directory.read("memmap_on_memory", parse_flag),
            state: directory.device("state"),
            blocks,
        })
    }
}

/// The serial numbers of the devices of a CXL region, in its own order: `target0` is a decoder of an endpoint, whose `uport` is the
/// memory device (drivers/cxl/core). A device without a serial number has 0.
fn serial(cxl: &Directory, region: &str) -> Option<String> {
    let region = cxl.child(region).ok()?;
    let ways = region.number("interleave_ways").ok().filter(|ways| (1..=MAX_TARGETS).contains(ways))?;
    let of_target = |position| {
        let decoder = region.device(&format!("target{position}")).ok()?;
        let number = cxl.child(&decoder).ok()?.child("../uport").ok()?.number("serial").ok()?;
        (number != 0).then(|| format!("{number:#x}"))
    };
    Some((0..ways).map(of_target).collect::<Option<Vec<_>>>()?.join("+"))
}

fn driver(name: Option<String>) -> DeviceDriver {
    match name.as_deref() {
        None => DeviceDriver::None,
        Some("device_dax") => DeviceDriver::DeviceDax,
        // `dax_kmem` in some trees.
        Some("kmem" | "dax_kmem") => DeviceDriver::Kmem,
        Some("fsdev_dax") => DeviceDriver::FsdevDax,
        Some(other) => DeviceDriver::Other(other.to_owned()),
    }
}

/// What made a device, by its place among the devices:
/// `../../../devices/platform/ACPI0017:00/root0/decoder0.0/region0/dax_region0/dax0.0`, `…/hmem.0/dax0.0`,
/// `…/ndbus0/region0/dax0.1/dax0.0`.
fn place(target: &Path) -> (DeviceKind, Option<String>) {
    let names = target.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let above: Vec<&str> = names.rev().skip(1).collect();
    let region = || above.iter().find(|name| name.starts_with("region")).map(|name| (*name).to_owned());
    let parent = above.first().copied().unwrap_or_default();
    if above.iter().any(|name| name.starts_with("ndbus")) {
        (DeviceKind::Pmem, region())
    } else if parent.starts_with("dax_region") {
        (DeviceKind::Cxl, region())
    } else if parent.starts_with("hmem") {
        (DeviceKind::Hmem, Some(parent.to_owned()))
    } else {
        (DeviceKind::Other, Some(parent.to_owned()).filter(|parent| !parent.is_empty()))
    }
}

/// `mapping0/start` and so on; a device without these is one range.
fn ranges(directory: &Directory, size: &Attribute<u64>) -> Attribute<Vec<AddressRange>> {
    let mut ranges = Vec::new();
    for index in 0..MAX_RANGES {
        let mapping = match directory.child(&format!("mapping{index}")) {
            Err(AttributeError::Absent) => break,
            mapping => mapping?,
        };
        let (start, end) = (hexadecimal(&mapping, "start")?, hexadecimal(&mapping, "end")?);
        let size = end.checked_sub(start).and_then(|last| last.checked_add(1));
        let malformed = || AttributeError::Malformed(format!("{start:#x}-{end:#x}"));
        ranges.push(AddressRange { start, size: size.ok_or_else(malformed)? });
    }
    if ranges.is_empty() {
        let (start, size) = (hexadecimal(directory, "resource")?, size.clone()?);
        ranges.push(AddressRange { start, size });
    }
    Ok(ranges)
}

/// `0xb70000000`. A device without memory has all ones for its address.
fn hexadecimal(directory: &Directory, name: &str) -> Attribute<u64> {
    directory.read(name, |text| {
        let address = u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()?;
        (address != u64::MAX).then_some(address)
    })
}

fn parse_flag(text: &str) -> Option<bool> {
    match text {
        "0" | "N" => Some(false),
        "1" | "Y" => Some(true),
        _ => None,
    }
}

/// The memory blocks of this host.
pub(super) struct Memory {
    root: PathBuf,
    directory: Attribute<Directory>,
    block_size: Attribute<u64>,
    /// The numbers of the blocks: one list, however many devices there are.
    numbers: OnceLock<Attribute<BTreeSet<u64>>>,
}

impl Memory {
    pub(super) fn open(sysfs: &Path) -> Self {
        let root = sysfs.join("devices/system/memory");
        let directory = Directory::open(&root);
        // In hexadecimal without 0x.
        let size = |directory: &Directory| {
            directory.read("block_size_bytes", |text| u64::from_str_radix(text, 16).ok().filter(|size| *size > 0))
        };
        let block_size = directory.as_ref().map_err(Clone::clone).and_then(size);
        Self { root, directory, block_size, numbers: OnceLock::new() }
    }

    pub(super) fn hotplug(&self, sysfs: &Path) -> MemoryHotplug {
        let has_huge_pages = |page: u64| {
            let kib = page.saturating_mul(page / 8) >> 10;
            sysfs.join(format!("kernel/mm/hugepages/hugepages-{kib}kB")).exists()
        };
        let parameters = Directory::open(&sysfs.join("module/memory_hotplug/parameters"));
        // `force` rounds up to whole page blocks.
        let parse = |text: &str| if text == "force" { Some(true) } else { parse_flag(text) };
        MemoryHotplug {
            block_size: self.block_size.clone(),
            memmap_on_memory: parameters.and_then(|directory| directory.read("memmap_on_memory", parse)),
            has_huge_pages: page_size().is_ok_and(has_huge_pages),
        }
    }

    /// Only whole blocks of a range are ever added (`dax_kmem_range()` in drivers/dax/kmem.c).
    fn blocks(&self, ranges: &[AddressRange]) -> Attribute<MemoryBlocks> {
        let (directory, size) = (self.directory.as_ref().map_err(Clone::clone)?, self.block_size.clone()?);
        let numbers = self.numbers.get_or_init(|| self.list()).as_ref().map_err(Clone::clone)?;
        let mut blocks = MemoryBlocks::default();
        for range in ranges {
            let first = range.start.div_ceil(size);
            let end = range.start.saturating_add(range.size) / size;
            for number in numbers.range(first..end.max(first)) {
                let block = directory.child(&format!("memory{number}"));
                match block.and_then(|block| block.read("state", |text| Some(text == "online"))) {
                    Ok(true) => blocks.online = blocks.online.saturating_add(size),
                    Ok(false) => blocks.offline = blocks.offline.saturating_add(size),
                    Err(AttributeError::Absent | AttributeError::Vanished) => {}
                    Err(other) => return Err(other),
                }
            }
        }
        Ok(blocks)
    }

    fn list(&self) -> Attribute<BTreeSet<u64>> {
        let names = list(&self.root).map_err(|error| AttributeError::Failed(error.raw_os_error().unwrap_or(0)))?;
        Ok(names.iter().filter_map(|name| name.strip_prefix("memory")?.parse().ok()).collect())
    }
}

#[cfg(test)]
mod tests;
