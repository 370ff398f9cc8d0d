//! The guard's own events: its mode, its policy, its exemptions, and whether it works.

use serde::Serialize;

use super::{Actor, Time};
use crate::model::policy::Mode;

/// Another mode is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ModeChanged {
    /// The mode before.
    pub from: Mode,
    /// The mode from now on.
    pub to: Mode,
    /// Who requested it; null if the configuration did.
    pub by: Option<Actor>,
    /// Why: the reason that they gave.
    pub reason: Option<String>,
}

/// A policy is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyLoaded {
    /// The file that it is from; null for the defaults.
    pub file: Option<String>,
    /// Its number: it grows with each change, and every judgement names it.
    pub number: u64,
    /// The policy in words: one sentence for each item.
    pub explanation: Vec<String>,
}

/// A policy was rejected: the one before stays in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyRefused {
    /// The file.
    pub file: String,
    /// What is wrong with it, with line and column.
    pub error: String,
}

/// Something that happened to an exemption.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExemptionChange {
    /// Its number. `id` is the event's own.
    #[serde(rename = "exemption_id")]
    pub id: u64,
    /// What it is for, in words: `region0`, `namespace uuid …`.
    pub subject: String,
    /// Why it was granted.
    pub reason: String,
    /// Whether it expires after one creation.
    pub once: bool,
    /// Who granted, spent or revoked it; null if the configuration or the clock did.
    pub by: Option<Actor>,
    /// When it expires; null for never.
    pub until: Option<Time>,
}

/// Whether the guard guards. Sent when it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuardState {
    /// The mode in force.
    pub mode: Mode,
    /// The configuration's mode: it is not in force if a person has set another one.
    pub configured_mode: Mode,
    /// Whether the program is attached, by the agent or by its pins.
    pub attached: bool,
    /// Whether it is pinned, so that it stays without the agent.
    pub pinned: bool,
    /// Whether it knows the existing info blocks, and what this kernel reserves for each page.
    pub armed: bool,
    /// Whether it judges creations now: it is attached and armed, and its program was seen to run.
    pub judges: bool,
    /// Whether an oversize creation would be refused now: it judges, and the mode is enforce.
    pub enforcement_effective: bool,
    /// Why it does not judge, or does not outlive the agent as configured.
    pub reason: Option<String>,
    /// The paths of its pins, which keep it without the agent; empty if it is not pinned.
    pub pins: Vec<String>,
}

/// The guard of an agent before this one, or its release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuardTransfer {
    /// The mode in force at that time.
    pub mode: Mode,
    /// Where its pins are or were.
    pub pins: Vec<String>,
    /// Who requested it; null if the agent did it by itself.
    pub by: Option<Actor>,
    /// What stays in force, or what happens to the guard.
    pub detail: String,
}
