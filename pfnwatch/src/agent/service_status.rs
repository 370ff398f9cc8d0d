//! How the agent stands, in one line for the service manager: what `systemctl status` shows.

use std::io::Write;

use super::{Agent, AgentState};
use crate::model::policy::Mode;

impl<W: Write> Agent<W> {
    pub(super) fn service_status(&self) -> String {
        let observing = match &self.state {
            AgentState::Observing => format!("observing Linux {}", self.facts.release),
            AgentState::Blind(reason) => format!("blind: {reason}"),
            AgentState::Idle | AgentState::Starting => "idle: libnvdimm is not loaded; waiting for it".to_owned(),
        };
        let mode = self.guard.policy().mode;
        let without_effect =
            self.guard.ineffective_reason().filter(|_| mode == Mode::Enforce && self.state != AgentState::Idle);
        let effect = without_effect.map(|why| format!(" without effect: {why}")).unwrap_or_default();
        let refused = if self.runtime_info.reload_error.is_some() { "; a configuration was refused" } else { "" };
        // A line break would end the message.
        format!("{observing}; {mode}{effect}{refused}").replace(char::is_control, " ")
    }
}
