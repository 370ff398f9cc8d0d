//! The configured receivers of alerts.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertsPolicy {
    /// The prefix of `runbook_url`, before the alert's name in lower case.
    pub runbook: String,
    pub receivers: Vec<Receiver>,
}

pub const RUNBOOK: &str = "file:///usr/share/doc/pfnwatch/runbook.md#";

impl Default for AlertsPolicy {
    fn default() -> Self {
        Self { runbook: RUNBOOK.to_owned(), receivers: Vec::new() }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct Receiver {
    pub name: String,
    pub kind: ReceiverKind,
    /// Where messages are posted. It may hold a secret: it is never shown.
    pub url: String,
    /// Trusted certificate authorities, as a PEM file; without, those of this host.
    pub ca_file: Option<PathBuf>,
    /// Contains a token for each request; read for each message, so that it may be rotated.
    pub bearer_token_file: Option<PathBuf>,
    /// Limit of a whole attempt.
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiverKind {
    /// Alertmanager's API, version 2: firing alerts are sent again regularly, or it takes them for resolved.
    Alertmanager,
    /// One message of JSON for each alert that begins or ends.
    Webhook,
}

impl fmt::Debug for Receiver {
    /// Without the URL, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}
