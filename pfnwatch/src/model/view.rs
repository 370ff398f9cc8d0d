//! How this host and its agent stand at one moment: what the metrics, the page, the alerts and `status` are made of.
//!
//! The agent's loop fills it in (`agent/view.rs`); metrics, page and alerts are pure functions of it.

use std::{collections::BTreeMap, time::SystemTime};

use crate::model::{
    alert::deliveries::DeliveryStats, capacity::Regression, control::Status, event::ProgramState, survey::ScanResult,
};

/// One moment.
#[derive(Debug)]
pub struct View {
    /// The moment.
    pub now: SystemTime,
    /// What `pfnwatch status` shows.
    pub status: Status,
    /// The namespaces with their verdicts, read for this; or why they cannot be read.
    pub survey: Result<ScanResult, String>,
    /// The kernel's MAX_STRUCT_PAGE_SIZE in bytes, where it is known.
    pub max_struct_page_size: Option<u64>,
    /// Every program, attached or not; empty while nothing is observed.
    pub programs: Vec<ProgramState>,
    /// What the kernel counted of the programs, where its statistics are on.
    pub runs: Vec<ProgramRuns>,
    /// How many events of each kind there were since the agent started, by the `event` of their JSON.
    pub events: BTreeMap<&'static str, u64>,
    /// The last events, the oldest first.
    pub last_events: Vec<EventLine>,
    /// Capacity regressions that stand.
    pub regressions: Vec<Regression>,
    /// How the event store stands.
    pub store: crate::model::store::StoreHealth,
    /// What became of alerts.
    pub alerts: Vec<DeliveryStats>,
}

impl View {
    /// Whether the agent does all that it can on this host: the programs are attached and the inventory is read, or there
    /// is no persistent memory yet.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn ready(&self) -> Result<(), String> {
        let agent = &self.status.agent;
        match &self.survey {
            _ if !agent.ready => Err(agent.reason.clone().unwrap_or_else(|| "it does not observe".to_owned())),
            Err(problem) => Err(format!("the namespaces cannot be read: {problem}")),
            Ok(_) => Ok(()),
        }
    }
}

/// What a program has cost since it was loaded, for as long as the kernel counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRuns {
    /// The program.
    pub program: String,
    /// How often it ran.
    pub count: u64,
    /// For how long, in nanoseconds.
    pub time_ns: u64,
}

/// An event as `run` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLine {
    /// The `event` of its JSON.
    pub kind: &'static str,
    /// The line for people, with its time.
    pub text: String,
}
