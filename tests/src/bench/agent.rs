//! What `cargo xtask bench agent` measures in a guest.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::footprint::{InKernel, Resident};

/// What is started, and timed until it is attached.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Started {
    /// `pfnwatch run`, with all its programs.
    Pfnwatch,
    /// bpftrace with one probe that prints a pointer: less than that it cannot do.
    OneProbe,
    /// bpftrace with [`super::ATTEMPTS`].
    SameFields,
}

/// What was measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figures {
    /// Enabled namespaces.
    pub namespaces: u64,
    /// From the start of the process until it is attached.
    pub starts: Vec<(Started, Duration)>,
    /// How long the agent was left alone.
    pub idle: Duration,
    /// How often it woke up meanwhile.
    pub wake_ups: u64,
    /// The agent.
    pub ours: Side,
    /// bpftrace with the same fields.
    pub peers: Side,
}

/// One of the two.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Side {
    /// Idle.
    pub resident: Resident,
    /// What it holds in the kernel, idle.
    pub in_kernel: InKernel,
    /// How often it holds libnvdimm, which can then not be unloaded.
    pub held: u64,
    /// From the kernel's time of an event to the line that tells of it, one event after the other.
    pub lines: Vec<Duration>,
    /// Many at once.
    pub burst: Burst,
}

/// Namespaces that are enabled as fast as the kernel does it, again and again.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Burst {
    /// How many were enabled.
    pub enabled: u64,
    /// Of how many a line told.
    pub told: u64,
    /// What the process took of the processor for that.
    pub processor_time: Duration,
}
