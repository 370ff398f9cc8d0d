//! What `cargo xtask bench agent` measures in a guest.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::footprint::{InKernel, Resident};

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Started {
    Pfnwatch,
    /// bpftrace with one probe that prints a pointer: the minimum.
    OneProbe,
    SameFields,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figures {
    pub namespaces: u64,
    /// From the start of the process until it is attached.
    pub starts: Vec<(Started, Duration)>,
    pub idle: Duration,
    pub wake_ups: u64,
    pub ours: Side,
    pub peers: Side,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Side {
    pub resident: Resident,
    pub in_kernel: InKernel,
    /// How often it holds libnvdimm, which then cannot be unloaded.
    pub held: u64,
    /// From the kernel's time of an event to the line that tells of it, one event after the other.
    pub lines: Vec<Duration>,
    pub burst: Burst,
}

/// Namespaces that are enabled as fast as the kernel does it, again and again.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Burst {
    pub enabled: u64,
    pub told: u64,
    pub processor_time: Duration,
}
