//! How the agent stands, in one line for the service manager: what `systemctl status` shows.

use std::io::Write;

use super::{Pipeline, Told};
use crate::policy::Mode;

impl<W: Write> Pipeline<W> {
    pub(super) fn standing(&self) -> String {
        let observing = match &self.told {
            Told::Observing => format!("observing Linux {}", self.facts.release),
            Told::Blind(reason) => format!("blind: {reason}"),
            Told::Idle | Told::Nothing => "idle: libnvdimm is not loaded; waiting for it".to_owned(),
        };
        let mode = self.guard.policy().mode;
        let without_effect = self.guard.ineffective().filter(|_| mode == Mode::Enforce && self.told != Told::Idle);
        let effect = without_effect.map(|why| format!(" without effect: {why}")).unwrap_or_default();
        let refused = if self.said.reload_error.is_some() { "; a configuration was refused" } else { "" };
        // A line break would end the message.
        format!("{observing}; {}{effect}{refused}", mode).replace(char::is_control, " ")
    }
}
