//! Memmaps in DRAM that are removed, and whether the kernel returns them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::event::{Actor, Time};
use crate::model::units::Bytes;

/// The releases that return a memmap in DRAM again, for messages.
pub const MEMMAP_RETURNED_SINCE: &str = "6.18.39, 7.1.4, 7.2";

/// A range of device memory whose memmap in DRAM the kernel removes; sizes and addresses in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemmapRemoval {
    pub time: Time,
    pub start: u64,
    pub size: u64,
    /// The size of the compound pages.
    pub align: u64,
    /// The memmap lies on the range itself (memmap_on_memory); `None` for system RAM, whose record does not show it.
    pub on_media: Option<bool>,
    /// Nobody saw the removal: it is concluded from what a device was and is.
    pub is_inferred: bool,
    pub by: Option<Actor>,
}

/// The kinds of evidence that a kernel returns a memmap in DRAM or not, the weakest first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::IntoStaticStr, strum::EnumString,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum MemmapEvidence {
    /// The kernel's release alone: a suspicion.
    Release,
    /// The running kernel's code.
    Code,
    /// Free memory before and after a removal, when nothing else moved.
    Observed,
}

impl MemmapEvidence {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Whether the running kernel returns a memmap in DRAM when its device is disabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum MemmapVerdict {
    /// It does.
    Returned,
    /// It loses pieces of 2 MiB until the next boot.
    NotReturned,
    /// Its release suggests that it loses them, and its code does not show it.
    Suspected,
    /// Neither its code nor its release shows it, or the code was not read yet.
    #[default]
    Unknown,
}

impl MemmapVerdict {
    /// What the release alone shows, which may suspect the kernel.
    #[must_use]
    pub const fn of_release(is_suspected: bool) -> Self {
        if is_suspected { Self::Suspected } else { Self::Unknown }
    }

    /// Whether it does; `None` if that is not certain.
    #[must_use]
    pub const fn is_returned(self) -> Option<bool> {
        match self {
            Self::Returned => Some(true),
            Self::NotReturned => Some(false),
            Self::Suspected | Self::Unknown => None,
        }
    }
}

/// Whether the running kernel returns memmaps in DRAM, and how much was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemmapReturnStatus {
    /// Whether the running kernel returns a memmap in DRAM when its device is disabled.
    pub verdict: MemmapVerdict,
    /// The evidence; null if it is unknown.
    pub evidence: Option<MemmapEvidence>,
    /// Why the kernel's code does not show it.
    pub problem: Option<String>,
    /// DRAM in bytes that the kernel did not return since boot, by the evidence at that time, as far as agents have seen it. With
    /// `release` it is a suspicion.
    pub lost_bytes: BTreeMap<MemmapEvidence, u64>,
}

impl MemmapReturnStatus {
    /// All DRAM that was lost since boot, in bytes.
    #[must_use]
    pub fn total_lost(&self) -> u64 {
        self.lost_bytes.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// Whether nothing but the release suggests that DRAM was lost.
    #[must_use]
    pub fn is_suspicion(&self) -> bool {
        self.lost_bytes.iter().all(|(evidence, bytes)| *evidence == MemmapEvidence::Release || *bytes == 0)
    }

    /// The verdict and what was lost, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let evidence = self.evidence.map(|evidence| format!(" ({})", evidence.as_str())).unwrap_or_default();
        let problem = self.problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
        let lost = match self.total_lost() {
            0 => String::new(),
            bytes => format!("; {} lost since boot, a reboot returns them", Bytes(bytes)),
        };
        let verdict = match self.verdict {
            MemmapVerdict::Returned => "returns a memmap in DRAM when its device is disabled",
            MemmapVerdict::NotReturned => "DOES NOT RETURN a memmap in DRAM when its device is disabled",
            MemmapVerdict::Suspected => "IS SUSPECTED not to return a memmap in DRAM when its device is disabled",
            MemmapVerdict::Unknown => "whether it returns a memmap in DRAM is not known",
        };
        format!("{verdict}{evidence}{problem}{lost}")
    }
}

/// Free memory at one moment, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Free pages, those on the lists of each CPU included.
    pub free: u64,
    /// What the kernel counts of other uses, by the counter's name.
    pub others: BTreeMap<String, u64>,
}
