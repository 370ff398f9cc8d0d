//! What tests of alerts share.

use std::collections::BTreeMap;

use crate::{
    control::protocol::{
        AgentStatus, GuardStatus, MaxStructPageStatus, Mode, ModeStatus, PolicyStatus, Status, WebStatus,
    },
    event::Stopped,
    policy::OnAgentExit,
};

/// An agent with which all is well.
pub(super) fn status() -> Status {
    let then = "2026-01-02T03:04:05Z".to_owned();
    Status {
        agent: AgentStatus {
            pid: 1,
            version: "0.1.0".to_owned(),
            started: then.clone(),
            kernel: "6.1.0".to_owned(),
            observing: true,
            reason: None,
            ready: true,
            uptime_seconds: 60,
            memory: None,
        },
        mode: ModeStatus { mode: Mode::Audit, since: then.clone(), by: "the policy".to_owned(), reason: None },
        guard: GuardStatus { attached: true, armed: true, reason: None },
        enforcement_effective: true,
        ineffective_reason: None,
        proof: None,
        max_struct_page: MaxStructPageStatus::default(),
        policy: PolicyStatus {
            number: 1,
            file: None,
            hash: String::new(),
            since: then,
            reload_error: None,
            aligns: 1,
            parts_per_million: 1000,
            reference_struct_page_bytes: 64,
        },
        exemptions: Vec::new(),
        exemptions_left_out: Vec::new(),
        programs: Vec::new(),
        records: Stopped::default(),
        last_event: None,
        web: WebStatus::default(),
        counters: BTreeMap::new(),
        on_agent_exit: OnAgentExit::Release,
        pins: Vec::new(),
    }
}
