//! A device as programs read it.

use serde::Serialize;

use crate::model::device::{AssessedDevice, DeviceKind, MemmapPlace};

/// A device of the dax bus that no namespace owns.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ScanDevice"))]
pub(super) struct DeviceRow {
    /// `dax0.0`
    pub(super) device: String,
    /// What its memory is.
    pub(super) kind: DeviceKind,
    /// What made it: `region0`, `hmem.0`.
    pub(super) parent: Option<String>,
    /// The serial numbers of the CXL devices that its memory is on, joined by `+`; null for other memory, and if unknown.
    pub(super) serial: Option<String>,
    /// Its driver; null if none is bound.
    pub(super) driver: Option<String>,
    /// As daxctl prints it: `devdax`, `system-ram`, `famfs`, `disabled`; `unknown` for a driver that pfnwatch does not know.
    pub(super) mode: &'static str,
    /// Its size in bytes.
    pub(super) size_bytes: Option<u64>,
    /// Its align in bytes.
    pub(super) align_bytes: Option<u64>,
    /// The NUMA node of its memory as system RAM; -1 for none.
    pub(super) target_node: Option<i32>,
    /// Physical address of its first byte; null without root.
    pub(super) start_address: Option<u64>,
    /// Where its memmap is.
    pub(super) memmap_place: Option<MemmapPlace>,
    /// Bytes of its memmap, wherever that is.
    pub(super) memmap_bytes: Option<u64>,
    /// DRAM that holds its memmap.
    pub(super) memmap_dram_bytes: Option<u64>,
    /// Whether the kernel keeps equal pages of its memmap once; null if it has no memmap.
    pub(super) deduplicated: Option<bool>,
    /// Bytes that programs can use.
    pub(super) usable_bytes: Option<u64>,
    /// Bytes in use as system RAM; null in other modes.
    pub(super) online_bytes: Option<u64>,
    /// Bytes added as system RAM that are offline.
    pub(super) offline_bytes: Option<u64>,
    /// Bytes that do not fill a memory block.
    pub(super) stranded_bytes: Option<u64>,
    /// State of the memory as kmem reports it (since 7.3).
    pub(super) state: Option<String>,
    /// The device's attribute `memmap_on_memory` (since 6.8).
    pub(super) memmap_on_memory_configured: Option<bool>,
    /// Whether the kernel puts the memmap of its memory blocks on these; null in modes other than system RAM.
    pub(super) memmap_on_memory_effective: Option<bool>,
    /// Notes for people, one sentence each.
    pub(super) notes: Vec<String>,
}

impl From<&AssessedDevice> for DeviceRow {
    fn from(AssessedDevice { device, memory }: &AssessedDevice) -> Self {
        Self {
            device: device.name.clone(),
            kind: device.kind,
            parent: device.parent.clone(),
            serial: device.serial.clone(),
            driver: device.driver.name().map(str::to_owned),
            mode: device.driver.mode(),
            size_bytes: device.size.clone().ok(),
            align_bytes: device.align.clone().ok(),
            target_node: device.target_node.clone().ok(),
            start_address: device.start(),
            memmap_place: memory.place,
            memmap_bytes: memory.memmap,
            memmap_dram_bytes: memory.dram(),
            deduplicated: memory.deduplicated,
            usable_bytes: memory.usable,
            online_bytes: memory.online,
            offline_bytes: memory.offline,
            stranded_bytes: memory.stranded,
            state: device.state.clone().ok(),
            memmap_on_memory_configured: device.memmap_on_memory.clone().ok(),
            memmap_on_memory_effective: memory.memmap_on_memory,
            notes: memory.notes.clone(),
        }
    }
}
