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
    /// bpftrace with one kprobe.
    OneKprobe,
    /// bpftrace on the functions that pfnwatch watches, but for the guard's hook, where it can have no program.
    SameFunctions,
}

/// What was measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figures {
    /// Enabled namespaces.
    pub namespaces: u64,
    /// From the start of the process until it is attached.
    pub starts: Vec<(Started, Duration)>,
    /// The agent, idle.
    pub resident: Resident,
    /// What it holds in the kernel.
    pub in_kernel: InKernel,
    /// How long it was left alone.
    pub idle: Duration,
    /// How often it woke up meanwhile.
    pub wake_ups: u64,
    /// From a bind to the line that tells of it, by the agent.
    pub lines: Vec<Duration>,
    /// The same by bpftrace with one kprobe.
    pub peer_lines: Vec<Duration>,
}
