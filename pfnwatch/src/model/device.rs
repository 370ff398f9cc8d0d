//! Devices on the dax bus that no namespace owns, and what their memmaps cost.

use std::fmt;

use crate::model::inventory::{Attribute, AttributeError};

/// A device as sysfs has it.
#[derive(Clone, Debug)]
pub struct MemoryDevice {
    /// `dax0.0`.
    pub name: String,
    pub kind: DeviceKind,
    /// What made it: `region0`, `hmem.0`; `None` if its place in sysfs does not show that.
    pub parent: Option<String>,
    /// The serial numbers of the CXL devices that its memory is on, joined by `+`; `None` for other memory, and if unknown.
    pub serial: Option<String>,
    pub driver: DeviceDriver,
    /// Bytes.
    pub size: Attribute<u64>,
    /// Bytes.
    pub align: Attribute<u64>,
    /// The NUMA node that its memory belongs to as system RAM; -1 for none.
    pub target_node: Attribute<i32>,
    /// The physical addresses that it consists of, in its own order; root only.
    pub ranges: Attribute<Vec<AddressRange>>,
    /// Whether kmem is asked to put the memmap on the device (since 6.8).
    pub memmap_on_memory: Attribute<bool>,
    /// kmem's own word for what became of the memory (since 7.3).
    pub state: Attribute<String>,
    /// The memory blocks of its ranges.
    pub blocks: Attribute<MemoryBlocks>,
}

impl MemoryDevice {
    /// Whether all of it could be read: neither is a driver being bound, nor did the device vanish meanwhile.
    #[must_use]
    pub fn is_completely_read(&self) -> bool {
        let passes = |why: &AttributeError| matches!(why, AttributeError::Busy(_) | AttributeError::Vanished);
        let errors = [self.size.as_ref().err(), self.align.as_ref().err(), self.ranges.as_ref().err()];
        !errors.into_iter().flatten().chain(self.blocks.as_ref().err()).any(passes)
    }

    /// Physical address of its first byte.
    #[must_use]
    pub fn start(&self) -> Option<u64> {
        self.ranges.as_ref().ok()?.first().map(|range| range.start)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, strum::IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DeviceKind {
    /// Volatile memory of a CXL region.
    Cxl,
    /// Memory that the firmware has set aside for a purpose (soft-reserved).
    Hmem,
    /// Persistent memory whose namespace is not in the inventory.
    Pmem,
    /// Its place in sysfs does not show what made it.
    Other,
}

impl DeviceKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceDriver {
    /// A character device.
    DeviceDax,
    /// System RAM.
    Kmem,
    /// A device for famfs, since 7.1.
    FsdevDax,
    Other(String),
    None,
}

impl DeviceDriver {
    /// The mode, as daxctl prints it.
    #[must_use]
    pub const fn mode(&self) -> &'static str {
        match self {
            Self::DeviceDax => "devdax",
            Self::Kmem => "system-ram",
            Self::FsdevDax => "famfs",
            Self::Other(_) => "unknown",
            Self::None => "disabled",
        }
    }

    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::DeviceDax => Some("device_dax"),
            Self::Kmem => Some("kmem"),
            Self::FsdevDax => Some("fsdev_dax"),
            Self::Other(name) => Some(name),
            Self::None => None,
        }
    }
}

/// Bytes of a device that the kernel has added as memory blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryBlocks {
    pub online: u64,
    pub offline: u64,
}

impl MemoryBlocks {
    #[must_use]
    pub const fn present(self) -> u64 {
        self.online.saturating_add(self.offline)
    }
}

/// How this kernel adds memory.
#[derive(Clone, Debug)]
pub struct MemoryHotplug {
    /// Bytes of a memory block.
    pub block_size: Attribute<u64>,
    /// The parameter `memory_hotplug.memmap_on_memory`: that the memmap of added memory may be on that memory.
    pub memmap_on_memory: Attribute<bool>,
    /// The kernel has huge pages of the size that a page of page table entries covers, which is then its page block.
    pub has_huge_pages: bool,
}

impl Default for MemoryHotplug {
    /// A kernel that adds no memory.
    fn default() -> Self {
        let absent = AttributeError::Absent;
        Self { block_size: Err(absent.clone()), memmap_on_memory: Err(absent), has_huge_pages: false }
    }
}

/// Where a memmap is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, strum::IntoStaticStr,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum MemmapPlace {
    /// In DRAM.
    Dram,
    /// On the device itself.
    Device,
    /// There is no memmap.
    None,
}

impl fmt::Display for MemmapPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad((*self).into())
    }
}

/// What a device's memory serves, and its memmap; bytes, `None` for what is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceMemory {
    pub place: Option<MemmapPlace>,
    /// Bytes of the memmap, wherever it is.
    pub memmap: Option<u64>,
    /// The kernel keeps one copy of tail pages that are the same.
    pub deduplicated: Option<bool>,
    /// The memmap of memory that is added is on the device.
    pub memmap_on_memory: Option<bool>,
    /// Bytes that programs can use.
    pub usable: Option<u64>,
    /// As system RAM.
    pub online: Option<u64>,
    /// Added, and not in use.
    pub offline: Option<u64>,
    /// As system RAM: what does not fill a memory block.
    pub stranded: Option<u64>,
    /// What people should know, as sentences without a full stop.
    pub notes: Vec<String>,
}

impl DeviceMemory {
    /// DRAM that the memmap takes.
    #[must_use]
    pub const fn dram(&self) -> Option<u64> {
        self.of_place(MemmapPlace::Dram)
    }

    /// Bytes that the memmap takes on the device itself.
    #[must_use]
    pub const fn on_device(&self) -> Option<u64> {
        self.of_place(MemmapPlace::Device)
    }

    const fn of_place(&self, wanted: MemmapPlace) -> Option<u64> {
        match self.place {
            Some(place) if place as u8 == wanted as u8 => self.memmap,
            Some(_) => Some(0),
            None => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct AssessedDevice {
    pub device: MemoryDevice,
    pub memory: DeviceMemory,
}

/// Sums over the devices of a host, in bytes. Unknown numbers are not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeviceTotals {
    /// Devices.
    pub devices: u64,
    /// Their sizes.
    pub size_bytes: u64,
    /// Bytes that programs can use.
    pub usable_bytes: u64,
    /// Bytes in use as system RAM.
    pub online_bytes: u64,
    /// Bytes added as system RAM that are offline.
    pub offline_bytes: u64,
    /// Bytes that do not fill a memory block.
    pub stranded_bytes: u64,
    /// Bytes that memmaps take on the devices themselves.
    pub memmap_device_bytes: u64,
    /// DRAM that holds the struct pages of devices.
    pub memmap_dram_bytes: u64,
    /// Devices of which that is unknown.
    pub memmap_dram_unknown: u64,
}

impl DeviceTotals {
    /// Sums saturate.
    #[must_use]
    pub fn of(devices: &[AssessedDevice]) -> Self {
        let mut totals = Self::default();
        let add = |sum: &mut u64, bytes: Option<u64>| *sum = sum.saturating_add(bytes.unwrap_or(0));
        for AssessedDevice { device, memory } in devices {
            add(&mut totals.devices, Some(1));
            add(&mut totals.size_bytes, device.size.clone().ok());
            add(&mut totals.usable_bytes, memory.usable);
            add(&mut totals.online_bytes, memory.online);
            add(&mut totals.offline_bytes, memory.offline);
            add(&mut totals.stranded_bytes, memory.stranded);
            add(&mut totals.memmap_device_bytes, memory.on_device());
            add(&mut totals.memmap_dram_bytes, memory.dram());
            add(&mut totals.memmap_dram_unknown, Some(u64::from(memory.dram().is_none())));
        }
        totals
    }
}
