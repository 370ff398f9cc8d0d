//! The state of the alerts: what `pfnwatch alerts list` shows.

use serde::{Deserialize, Serialize};

use crate::model::alert::{Alert, deliveries::DeliveryStats};

/// The firing alerts, and what their receivers were sent. Points of time are RFC 3339 in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AlertsStatus {
    /// The firing alerts.
    pub firing: Vec<FiringAlertStatus>,
    /// How many alerts are left out because there are too many of their name.
    #[serde(default)]
    pub omitted: usize,
    /// The receivers.
    pub receivers: Vec<DeliveryStats>,
    /// The messages that wait, the oldest first, as far as they are not too many.
    pub waiting: Vec<PendingMessage>,
}

/// A firing alert.
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
    /// Whether the event store has it. If not, the message is lost when the agent stops.
    pub saved: bool,
}
