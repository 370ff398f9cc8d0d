//! The agent's status: what `pfnwatch status`, the web, and alerts show. The agent fills it in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::device::DeviceTotals;
use crate::model::event::{MaxStructPageStatus, ProgramState, RecordTotals};
use crate::model::memmap_return::MemmapReturnStatus;
use crate::model::policy::{ExemptionSubject, Mode, ModeSource, OnAgentExit};
use crate::model::timestamp::Timestamp;
use crate::model::verdict::NamespaceTotals;

/// The agent's status at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    /// The agent.
    pub agent: AgentStatus,
    /// What the guard does about an oversize creation, since when, and who set it.
    pub mode: ModeStatus,
    /// The guard.
    pub guard: GuardStatus,
    /// Whether an oversize creation would be refused now: the mode is enforce, and the guard judges.
    pub enforcement_effective: bool,
    /// Why it would not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ineffective_reason: Option<String>,
    /// When the guard's self-test last succeeded, and how.
    pub self_test: Option<SelfTestStatus>,
    /// What the running kernel reserves for each page.
    pub max_struct_page: MaxStructPageStatus,
    /// Sums over the namespaces; `None` if they cannot be read.
    #[serde(default)]
    pub totals: Option<NamespaceTotals>,
    /// Sums over the devices that no namespace owns; `None` if they cannot be read.
    #[serde(default)]
    pub device_totals: Option<DeviceTotals>,
    /// Whether the running kernel returns a memmap in DRAM when its device is disabled, and what it lost.
    #[serde(default)]
    pub memmap_return: MemmapReturnStatus,
    /// The kernel facts that the verdicts use.
    pub policy: PolicyStatus,
    /// The exemptions in force.
    pub exemptions: Vec<ExemptionStatus>,
    /// The exemptions of the configuration that are not in force.
    #[serde(default)]
    pub skipped_exemptions: Vec<SkippedExemptionStatus>,
    /// Every program, attached or not; empty while nothing is observed.
    #[serde(default)]
    pub programs: Vec<ProgramState>,
    /// Records that the kernel's side sent, and what was missed, since the agent started.
    #[serde(default)]
    pub records: RecordTotals,
    /// The last event, as its line for people.
    #[serde(default)]
    pub last_event: Option<String>,
    /// Where the web server listens.
    #[serde(default)]
    pub web: WebStatus,
    /// What the eBPF programs counted since they were loaded, by the counter's name: `judged`, `denied`, `lost`, …
    pub counters: BTreeMap<String, u64>,
    /// How often the kernel did not run a probe since it was attached, by the program's name. A program is absent if it is no probe, or if
    /// the kernel does not report the number (before Linux 6.7).
    #[serde(default)]
    pub probe_misses: BTreeMap<String, u64>,
    /// Why the event store cannot be written; null if it can, or is turned off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_error: Option<String>,
    /// Entries that the agent dropped since it started because a table was full, by table: `labels`, `boots`, …
    #[serde(default)]
    pub evictions: BTreeMap<String, u64>,
    /// What happens to the guard when the agent ends.
    pub on_agent_exit: OnAgentExit,
    /// The paths of the pins that keep the guard in the kernel without the agent.
    pub pins: Vec<String>,
    /// The parts of the agent that do not work at present and are retried.
    pub degraded: Vec<DegradedStatus>,
}

/// A part of the agent that does not work at present. The agent goes on, and retries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DegradedStatus {
    /// Which part.
    pub part: DegradedPart,
    /// Since when.
    pub since: Timestamp,
    /// The last error.
    pub error: String,
}

/// A part of the agent that may fail while the agent goes on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display, strum::VariantArray,
)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DegradedPart {
    /// The programs cannot be attached: the agent is blind.
    Programs,
    /// The programs' counters cannot be read: losses are reported late.
    Counters,
    /// The kernel's messages about modules: libnvdimm is looked for every 30 s.
    ModuleEvents,
    /// The kernel rejects a change of the guard's policy that follows from an event or from the clock.
    Policy,
    /// The inventory cannot be handed to the guard: it is not armed.
    Arming,
    /// The regions cannot be read again: an exemption for a new one is not in force.
    Regions,
    /// The kernel's messages about devices: changes of devices are looked for every 30 s.
    DeviceEvents,
    /// The dax bus cannot be read: changes of devices are not reported.
    Devices,
    /// The maps of a pinned guard cannot be opened, or a guard of another version cannot be removed.
    Pins,
}

/// The agent itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AgentPhase {
    /// It attaches for the first time; it retries what may succeed later.
    Starting,
    /// It runs.
    #[default]
    Running,
    /// It was asked to end, and reads the records that are left.
    Draining,
}

/// The agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AgentStatus {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
    /// The running kernel's release.
    pub kernel: String,
    /// The subject.
    #[serde(default)]
    pub phase: AgentPhase,
    /// Whether it observes.
    pub observing: bool,
    /// The reason if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In how many seconds it tries again to attach its programs; `None` if it does not have to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_in_seconds: Option<u64>,
    /// Whether it does all that it can on this host: it observes, or is idle because libnvdimm is not loaded.
    #[serde(default)]
    pub ready: bool,
    /// How long ago it started, in seconds.
    #[serde(default)]
    pub uptime_seconds: u64,
    /// The agent's resident memory, if procfs reports it.
    #[serde(default)]
    pub memory: Option<MemoryStatus>,
}

/// The agent's resident memory, by what backs it.
///
/// The kernel counts it on each CPU for itself and adds that up now and then (mm_struct.rss_stat since 6.2): it may be off by some
/// dozens of pages for each CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemoryStatus {
    /// RssAnon: its heap and stacks.
    pub anonymous_bytes: u64,
    /// RssFile: its own binary and libraries, as far as they are in memory.
    pub file_bytes: u64,
    /// RssShmem: shared memory.
    pub shared_bytes: u64,
}

/// Where the web server listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WebStatus {
    /// `127.0.0.1:9464`; null if it does not listen.
    pub address: Option<String>,
    /// Why it does not listen although it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The mode, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ModeStatus {
    /// The mode.
    pub mode: Mode,
    /// Since when this agent knows of it.
    pub since: Timestamp,
    /// Whether the configuration has set it, or a person.
    pub source: ModeSource,
    /// The configuration's mode: it is not in force if a person has set another one.
    pub configured_mode: Mode,
    /// Who set it: the configuration, or a process.
    pub by: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ModeStatus {
    /// The configuration's mode, if a person has set another one.
    #[must_use]
    pub fn overridden(&self) -> Option<Mode> {
        (self.mode != self.configured_mode).then_some(self.configured_mode)
    }
}

/// The guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuardStatus {
    /// Whether the program is attached, by the agent or by its pins.
    pub attached: bool,
    /// Whether it is pinned, so that it stays without the agent.
    pub pinned: bool,
    /// Whether it knows the existing info blocks, and what this kernel reserves for each page.
    pub armed: bool,
    /// Whether it judges creations now: it is attached and armed, and its program was seen to run.
    pub judges: bool,
    /// Why it does not judge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The guard's self-test succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SelfTestStatus {
    /// When.
    pub at: Timestamp,
    /// How.
    pub how: String,
}

/// The kernel facts that the verdicts use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyStatus {
    /// The first 16 digits of the SHA-256 of the configuration file as it was read, as `sha256sum` prints it; of
    /// empty input if there is no file.
    #[serde(default)]
    pub hash: String,
    /// Number of policies that this agent has loaded into the guard, this one included.
    pub number: u64,
    /// The file it was read from; null if there was none and the defaults are in force.
    pub file: Option<String>,
    /// When it came into force.
    pub since: Timestamp,
    /// Why the present file is not in force, if a reload failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload_error: Option<String>,
    /// Limit: the excess is more than this many times the align.
    pub aligns: u64,
    /// Limit: the excess is more than this many millionths of the namespace.
    pub parts_per_million: u64,
    /// The struct page size of the ideal, in bytes.
    pub reference_struct_page_bytes: u64,
}

/// An exemption in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExemptionStatus {
    /// Its number.
    pub id: u64,
    /// Whether `allow` made it, which can be revoked, or the policy contains it.
    pub origin: ExemptionOrigin,
    /// What it is for.
    pub subject: ExemptionSubject,
    /// The region's present name, if the exemption is for a region that exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Whether one creation ends it.
    pub once: bool,
    /// When it expires; null if only a creation or a new policy ends it.
    pub until: Option<Timestamp>,
    /// How long that is from now, in seconds.
    pub remaining_seconds: Option<u64>,
    /// Why.
    pub reason: String,
    /// Who made it.
    pub by: String,
}

/// An exemption of the configuration that is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SkippedExemptionStatus {
    /// What it is for.
    pub subject: ExemptionSubject,
    /// Why it was made.
    pub reason: String,
    /// Why it is not in force.
    pub skip_reason: String,
}

/// Where an exemption comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExemptionOrigin {
    /// The policy contains it.
    Policy,
    /// `pfnwatch allow` made it.
    Allow,
}

impl AgentStatus {
    /// Why it does not observe, and when it tries again.
    #[must_use]
    pub fn blind_reason(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or("no reason is known");
        let retry = self.retry_in_seconds.map(|seconds| format!("; retry in {seconds} s")).unwrap_or_default();
        format!("{reason}{retry}")
    }
}

impl Status {
    /// Whether the mode asks for more than the guard does.
    #[must_use]
    pub fn is_enforce_without_effect(&self) -> bool {
        self.mode.mode == Mode::Enforce && !self.enforcement_effective
    }
}
