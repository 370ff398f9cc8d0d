//! Devices of the dax bus over kernels: what their memory serves, and what they lost.

use serde::{Deserialize, Serialize};

use super::{Acceptance, Cost, Regression, RegressionSubject};
use crate::model::device::{AssessedDevice, MemmapPlace};
use crate::model::event::Time;
use crate::model::units::Bytes;

/// A device, as it is distinguished from others over boots, kernels and reconfigurations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeviceKey {
    /// `dax0.0`, as it was named last.
    pub device: String,
    /// The serial numbers of the CXL devices that its memory is on, joined by `+`; null for other memory.
    pub serial: Option<String>,
    /// Physical address of its first byte.
    pub start_address: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// What a device's memory served under a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeviceState {
    /// The release of the kernel under which it was seen.
    pub kernel: String,
    /// When it was seen, in RFC 3339.
    pub seen: String,
    /// As daxctl prints it: `devdax`, `system-ram`, `famfs`, `disabled`.
    pub mode: String,
    /// Where its memmap is; null if unknown.
    pub memmap_place: Option<MemmapPlace>,
    /// Bytes of its memmap, wherever it is; null if unknown.
    pub memmap_bytes: Option<u64>,
    /// Whether the kernel keeps equal pages of its memmap once; null if it has no memmap, or if unknown.
    pub deduplicated: Option<bool>,
    /// Bytes in use as system RAM.
    pub online_bytes: u64,
}

impl DeviceState {
    /// `None` if too little is known of it to be compared.
    #[must_use]
    pub fn of(assessed: &AssessedDevice, kernel: &str, seen: Time) -> Option<Self> {
        let AssessedDevice { device, memory } = assessed;
        Some(Self {
            kernel: kernel.to_owned(),
            seen: seen.to_string(),
            mode: device.driver.mode().to_owned(),
            memmap_place: memory.place,
            memmap_bytes: memory.memmap,
            deduplicated: memory.deduplicated,
            // A device whose memmap's place is known, and that is no system RAM, has nothing online.
            online_bytes: memory.online.or_else(|| memory.place.map(|_| 0))?,
        })
    }

    /// Whether nothing but the kernel and the time differs.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        *self == Self { kernel: self.kernel.clone(), seen: self.seen.clone(), ..other.clone() }
    }

    /// Of two states in the same mode, this one with what only the other one knows.
    #[must_use]
    pub fn completed_by(self, other: &Self) -> Self {
        if self.mode != other.mode {
            return self;
        }
        Self {
            memmap_place: self.memmap_place.or(other.memmap_place),
            memmap_bytes: self.memmap_bytes.or(other.memmap_bytes),
            deduplicated: self.deduplicated.or(other.deduplicated),
            ..self
        }
    }

    fn cost(&self) -> Cost {
        Cost {
            kernel: self.kernel.clone(),
            seen: self.seen.clone(),
            reservation_bytes: self.memmap_bytes.unwrap_or(0),
            excess_bytes: 0,
            max_struct_page_size_bytes: None,
        }
    }
}

/// What a device lost under a later kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "loss", rename_all = "snake_case")]
pub enum DeviceLoss {
    /// The memmap moved to DRAM, or to the device itself.
    MemmapMoved {
        /// Where it is now.
        to: MemmapPlace,
        /// What it takes there, in bytes; 0 if unknown.
        bytes: u64,
    },
    /// The kernel keeps equal pages of the memmap more than once.
    NotDeduplicated {
        /// What the memmap takes more, in bytes; 0 if unknown.
        bytes: u64,
    },
    /// Less is in use as system RAM.
    FewerBytesOnline {
        /// How much less, in bytes.
        bytes: u64,
    },
}

impl DeviceLoss {
    pub(super) const fn bytes(&self) -> u64 {
        match self {
            Self::MemmapMoved { bytes, .. } | Self::NotDeduplicated { bytes } | Self::FewerBytesOnline { bytes } => {
                *bytes
            }
        }
    }

    fn describe(&self) -> String {
        let bytes = Bytes(self.bytes());
        match self {
            Self::MemmapMoved { to: MemmapPlace::Device, .. } => format!("its memmap moved to the device ({bytes})"),
            Self::MemmapMoved { .. } => format!("its memmap moved to DRAM ({bytes})"),
            Self::NotDeduplicated { .. } => format!("its memmap is not deduplicated ({bytes} more)"),
            Self::FewerBytesOnline { .. } => format!("{bytes} fewer are online"),
        }
    }
}

/// A device with what it lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RegressedDevice {
    /// Which one.
    #[serde(flatten)]
    pub device: DeviceKey,
    /// What it lost.
    pub losses: Vec<DeviceLoss>,
}

impl RegressedDevice {
    pub(super) fn lost_bytes(&self) -> u64 {
        self.losses.iter().map(DeviceLoss::bytes).fold(0, u64::saturating_add)
    }

    pub(super) fn describe(&self) -> String {
        self.losses.iter().map(DeviceLoss::describe).collect::<Vec<_>>().join("; ")
    }
}

/// A device over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "DeviceRecord"))]
pub struct DeviceRecord {
    /// Which one.
    #[serde(flatten)]
    pub device: DeviceKey,
    /// What it served when it was seen last; none if it is gone.
    pub last: Option<DeviceState>,
    /// What it served under the last kernel without a regression, or what was accepted.
    pub baseline: DeviceState,
    /// Who has accepted that, if anybody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Acceptance>,
}

impl DeviceRecord {
    /// What it lost under another kernel than the baseline's.
    #[must_use]
    pub fn regression(&self) -> Option<Regression> {
        let after = self.last.as_ref().filter(|last| last.kernel != self.baseline.kernel)?;
        let losses = losses(&self.baseline, after);
        (!losses.is_empty()).then(|| Regression {
            subject: RegressionSubject::Device(RegressedDevice { device: self.device.clone(), losses }),
            before: self.baseline.cost(),
            after: after.cost(),
        })
    }

    pub(crate) fn accepted(&self, acceptance: Acceptance) -> Self {
        let baseline = self.last.clone().unwrap_or_else(|| self.baseline.clone());
        Self { baseline, accepted: Some(acceptance), ..self.clone() }
    }
}

/// What is unknown of one of the two is not compared.
#[must_use]
pub fn losses(before: &DeviceState, after: &DeviceState) -> Vec<DeviceLoss> {
    let moved = match (before.memmap_place, after.memmap_place) {
        (Some(MemmapPlace::Dram), Some(to @ MemmapPlace::Device))
        | (Some(MemmapPlace::Device), Some(to @ MemmapPlace::Dram)) => {
            Some(DeviceLoss::MemmapMoved { to, bytes: after.memmap_bytes.unwrap_or(0) })
        }
        _ => None,
    };
    // No kernel deduplicates the memmap of system RAM: what is online is the reason then, not a loss.
    let is_copied = before.deduplicated == Some(true) && after.deduplicated == Some(false) && after.online_bytes == 0;
    let more = before.memmap_bytes.zip(after.memmap_bytes).map(|(before, after)| after.saturating_sub(before));
    let copied = is_copied.then(|| DeviceLoss::NotDeduplicated { bytes: more.unwrap_or(0) });
    let fewer = before.online_bytes.checked_sub(after.online_bytes).filter(|bytes| *bytes > 0);
    let offline = fewer.map(|bytes| DeviceLoss::FewerBytesOnline { bytes });
    [moved, copied, offline].into_iter().flatten().collect()
}
