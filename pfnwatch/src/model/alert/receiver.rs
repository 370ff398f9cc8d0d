//! Who gets the alerts, as the configuration says it.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// All that is configured about alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertsPolicy {
    /// What the names of the alerts are appended to, in lower case, for `runbook_url`.
    pub runbook: String,
    /// Who gets them.
    pub receivers: Vec<Receiver>,
}

/// Where the package puts the runbook.
pub const RUNBOOK: &str = "file:///usr/share/doc/pfnwatch/runbook.md#";

impl Default for AlertsPolicy {
    fn default() -> Self {
        Self { runbook: RUNBOOK.to_owned(), receivers: Vec::new() }
    }
}

/// One receiver.
#[derive(Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Its name: what messages that wait are kept under.
    pub name: String,
    /// What it speaks.
    pub kind: ReceiverKind,
    /// Where a message is posted to. It may hold a secret: it is never shown.
    pub url: String,
    /// The certificate authorities that are believed, as a PEM file; without, those of this host.
    pub ca_file: Option<PathBuf>,
    /// Holds a token that is sent along; read for each message, so that it may be changed.
    pub bearer_token_file: Option<PathBuf>,
    /// How long an attempt may take in all.
    pub timeout: Duration,
}

/// What a receiver speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiverKind {
    /// Alertmanager's API, version 2: what stands is said again and again, or it takes it for resolved.
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
