//! The state of the alerts, as `pfnwatch alerts list` shows it.

use serde::{Deserialize, Serialize};

use crate::model::alert::{Alert, deliveries::DeliveryStats};

/// What stands, and who was told. Points of time are RFC 3339 in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertsStatus {
    /// The alerts that stand.
    pub standing: Vec<FiringAlertStatus>,
    /// The receivers.
    pub receivers: Vec<DeliveryStats>,
    /// The messages that wait, the oldest first, as far as they are not too many.
    pub waiting: Vec<PendingMessage>,
}

/// An alert that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FiringAlertStatus {
    /// What receivers know it by.
    pub fingerprint: String,
    /// Since when.
    pub since: String,
    /// The alert.
    #[serde(flatten)]
    pub alert: Alert,
}

/// A message that was not delivered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PendingMessage {
    /// Whom it is for.
    pub receiver: String,
    /// The alert's name.
    pub alert: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// `firing` or `resolved`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether the journal has it: where it has not, the message ends with the agent.
    pub kept: bool,
}
