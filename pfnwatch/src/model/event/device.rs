//! The life of devices that no namespace owns, and of system RAM whose owner is gone.

use serde::Serialize;

use super::{Actor, NamespaceId};
use crate::model::device::{AssessedDevice, DeviceKind, MemmapPlace};

/// A device of the dax bus that no namespace owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeviceId {
    /// `dax0.0`
    pub device: String,
    /// What its memory is.
    pub kind: DeviceKind,
    /// What made it: `region0`, `hmem.0`; `null` if its place in sysfs does not show that.
    pub parent: Option<String>,
    /// Physical address of its first byte; `null` if it could not be read.
    pub start_address: Option<u64>,
}

/// What a device is used for, and what its memmap costs. A value that is unknown or does not apply is `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeviceUse {
    /// Its size in bytes.
    pub size_bytes: Option<u64>,
    /// Its driver; `null` if none is bound.
    pub driver: Option<String>,
    /// As daxctl prints it: `devdax`, `system-ram`, `famfs`, `disabled`; `unknown` for a driver that pfnwatch does not know.
    pub mode: &'static str,
    /// What is in use as system RAM, in bytes; `null` in other modes.
    pub online_bytes: Option<u64>,
    /// What is added as system RAM, and offline, in bytes.
    pub offline_bytes: Option<u64>,
    /// Where its memmap is.
    pub memmap_place: Option<MemmapPlace>,
    /// DRAM in bytes that holds its memmap.
    pub memmap_dram_bytes: Option<u64>,
}

impl From<&AssessedDevice> for DeviceId {
    fn from(AssessedDevice { device, .. }: &AssessedDevice) -> Self {
        Self {
            device: device.name.clone(),
            kind: device.kind,
            parent: device.parent.clone(),
            start_address: device.start(),
        }
    }
}

impl From<&AssessedDevice> for DeviceUse {
    fn from(AssessedDevice { device, memory }: &AssessedDevice) -> Self {
        Self {
            size_bytes: device.size.clone().ok(),
            driver: device.driver.name().map(str::to_owned),
            mode: device.driver.mode(),
            online_bytes: memory.online,
            offline_bytes: memory.offline,
            memmap_place: memory.place,
            memmap_dram_bytes: memory.dram(),
        }
    }
}

/// A device appeared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeviceAppeared {
    /// The device.
    #[serde(flatten)]
    pub id: DeviceId,
    /// What it is used for.
    #[serde(flatten)]
    pub used: DeviceUse,
}

/// A device changed: its driver, its memory blocks, its size. What happened within a moment is one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeviceChanged {
    /// The device.
    #[serde(flatten)]
    pub id: DeviceId,
    /// What it was used for.
    pub before: DeviceUse,
    /// What it is used for now.
    pub after: DeviceUse,
}

/// A device disappeared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeviceDisappeared {
    /// The device.
    #[serde(flatten)]
    pub id: DeviceId,
    /// What it was used for.
    pub before: DeviceUse,
    /// Bytes of it that stay online as system RAM until the next boot; `null` if unknown.
    pub left_online_bytes: Option<u64>,
}

/// A namespace was destroyed, and memory of it stays online as system RAM until the next boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemoryLeftOnline {
    /// The namespace.
    #[serde(flatten)]
    pub namespace: NamespaceId,
    /// Bytes of it that are online.
    pub left_online_bytes: u64,
    /// Who destroyed it.
    pub by: Option<Actor>,
}
