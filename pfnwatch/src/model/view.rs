//! The host and its agent at one moment: what the metrics, the page and the alerts are made of. The agent fills it in.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::model::alert::DeliveryStats;
use crate::model::capacity::Regression;
use crate::model::event::ProgramState;
use crate::model::scan_result::ScanResult;
use crate::model::status::{DegradedPart, Status};

#[derive(Debug)]
pub struct View {
    pub now: SystemTime,
    pub status: Status,
    /// The namespaces with their verdicts, read for this view; or why they cannot be read.
    pub scan: Result<ScanResult, String>,
    /// The kernel's MAX_STRUCT_PAGE_SIZE in bytes, if known.
    pub max_struct_page_size: Option<u64>,
    /// Every program, attached or not; empty while nothing is observed.
    pub programs: Vec<ProgramState>,
    /// What the kernel counted of the programs.
    pub runs: Vec<ProgramRuns>,
    /// How many events of each kind there were since the agent started, by the `event` of their JSON.
    pub events: BTreeMap<&'static str, u64>,
    pub last_events: Vec<EventLine>,
    pub regressions: Vec<Regression>,
    pub store: crate::model::store::StoreHealth,
    pub alerts: Vec<DeliveryStats>,
    /// How often each part of the agent has failed while the agent went on.
    pub degraded: BTreeMap<DegradedPart, u64>,
}

impl View {
    /// Whether the agent does all that it can on this host: the programs are attached and the inventory is read, or
    /// there is no persistent memory yet.
    pub fn ready(&self) -> Result<(), String> {
        let agent = &self.status.agent;
        match &self.scan {
            _ if !agent.ready => Err(agent.reason.clone().unwrap_or_else(|| "it does not observe".to_owned())),
            Err(problem) => Err(format!("the namespaces cannot be read: {problem}")),
            Ok(_) => Ok(()),
        }
    }
}

/// What the kernel counted of a program since it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRuns {
    pub program: String,
    /// `None` if the kernel's statistics are not enabled.
    pub counted: Option<RunCount>,
    /// How often the kernel did not run it, since another task was preempted inside it on the same CPU; `None` before 5.12. A
    /// probe counts only since 6.7.
    pub recursion_misses: Option<u64>,
    /// How often the kernel did not run a probe, since it was hit inside another one or had too many calls under way; `None` of
    /// other programs, and before 6.7.
    pub probe_misses: Option<u64>,
}

/// The cost of a program while the kernel counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunCount {
    pub count: u64,
    /// For how long, in nanoseconds.
    pub time_ns: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLine {
    pub kind: &'static str,
    pub text: String,
}
