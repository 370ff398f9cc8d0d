//! The agent's own events: whether it observes, and what it missed.

use serde::{Deserialize, Serialize};

/// The agent has got as far as it can for now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Ready {
    /// Whether it observes.
    pub state: ObservationState,
    /// Why it is idle, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The kernel's release.
    pub kernel: String,
    /// `sizeof(struct page)` in bytes.
    pub struct_page_size_bytes: Option<u64>,
    /// Its page size in bytes.
    pub page_size_bytes: u64,
    /// The programs, attached or not.
    pub programs: Vec<ProgramState>,
}

/// Whether the agent observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ObservationState {
    /// The programs are attached.
    Observing,
    /// There is nothing to observe yet: libnvdimm is not loaded.
    Idle,
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProgramState {
    /// Its name.
    pub program: String,
    /// Whether it is attached.
    pub attached: bool,
    /// Why it is not attached, and what is missed without it; or, if it is attached, what it cannot read on this
    /// kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The running kernel's MAX_STRUCT_PAGE_SIZE, with its evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MaxStructPageStatus {
    /// In bytes; `null` if nothing but the release's name shows it, or if the evidence contradicts itself.
    pub max_struct_page_size_bytes: Option<u64>,
    /// The evidence for it, the strongest first.
    pub evidence: Vec<String>,
    /// Evidence that contradicts it.
    pub conflicting_evidence: Vec<String>,
    /// Evidence that was not used, and why: unreadable, a module file of another build, a live patch.
    pub problems: Vec<String>,
}

/// What is known of the running kernel's MAX_STRUCT_PAGE_SIZE: what it will reserve for each page with map=dev.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MaxStructPageReport {
    /// The evidence and its result.
    #[serde(flatten)]
    pub status: MaxStructPageStatus,
    /// Whether the parameter `page_struct_override` is set; null if the kernel does not have it.
    pub page_struct_override: Option<bool>,
}

/// The agent no longer observes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Blind {
    /// Why.
    pub reason: String,
}

/// What the kernel's side has lost or could not complete since the last such event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LostRecords {
    /// Records lost because the ring buffer was full.
    pub lost: u64,
    /// Reads of kernel memory that failed.
    pub read_faults: u64,
    /// Attempts not followed because too many were in flight.
    pub table_full: u64,
    /// Attempts of which the beginning or the end was missed.
    pub unpaired: u64,
    /// Creations that the guard allowed because something of its own failed.
    pub guard_faults: u64,
    /// Namespaces that did not fit into the guard's table: it allows creations on them.
    pub blocks_missed: u64,
    /// Return probes that did not fire. They are limited to two calls at a time for each CPU, at least ten. Missing in events of agents
    /// that did not count it.
    #[serde(default)]
    #[cfg_attr(test, schemars(skip_serializing_if = "is_not_counted"))]
    pub returns_missed: u64,
    /// Attempts and writes of a uuid whose end was not seen within an hour: they were removed from their tables. Missing in events of
    /// agents that did not count it.
    #[serde(default)]
    #[cfg_attr(test, schemars(skip_serializing_if = "is_not_counted"))]
    pub swept: u64,
}

/// For the schema alone: the agent writes each of its counts.
#[cfg(test)]
const fn is_not_counted(count: &u64) -> bool {
    *count == 0
}

impl LostRecords {
    pub fn add(&mut self, other: Self) {
        self.lost = self.lost.saturating_add(other.lost);
        self.read_faults = self.read_faults.saturating_add(other.read_faults);
        self.table_full = self.table_full.saturating_add(other.table_full);
        self.unpaired = self.unpaired.saturating_add(other.unpaired);
        self.guard_faults = self.guard_faults.saturating_add(other.guard_faults);
        self.blocks_missed = self.blocks_missed.saturating_add(other.blocks_missed);
        self.returns_missed = self.returns_missed.saturating_add(other.returns_missed);
        self.swept = self.swept.saturating_add(other.swept);
    }

    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// A record that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DecodeFailure {
    /// Its length in bytes.
    pub length_bytes: u64,
    /// What was wrong with it.
    pub reason: String,
}

/// The agent ends: how many records it received and lost since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecordTotals {
    /// Records received.
    pub received: u64,
    /// Records that could not be decoded.
    pub decode_errors: u64,
    /// What the kernel's side lost.
    #[serde(flatten)]
    pub missed: LostRecords,
}
