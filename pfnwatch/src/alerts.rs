//! Alerts from the agent itself, for hosts that nobody scrapes.
//!
//! ```text
//! View ─▶ condition (what stands) ─▶ standing (what is news) ─▶ outbox ─▶ courier ─▶ http ─▶ Alertmanager, webhook
//! ```
//! All but `http` and `kept` is pure: no I/O, no clock. `pipeline/alerts` ties it to the agent's loop and to the journal.

mod alert;
mod backoff;
mod dispatcher;
mod firing;
mod http;
mod message;
mod messages;
mod name;
mod outbox;
mod receiver;
mod rules;
pub mod store;
#[cfg(test)]
mod tests;

pub use self::{
    alert::{Alert, AlertLabels, fingerprint},
    backoff::retry_delay,
    dispatcher::{Delivery, DeliveryJob, Dispatcher},
    firing::{AlertChange, FiringAlert, FiringAlerts, RecentEvents},
    http::{DeliveryResult, post},
    message::{Message, Payload, render},
    messages::{runbook, test_alert},
    name::{AlertName, Severity},
    outbox::{Outbox, OutboxStore, Waiting},
    receiver::{AlertsPolicy, RUNBOOK, Receiver, ReceiverKind},
    rules::{Findings, findings},
};

#[cfg(test)]
pub(crate) use self::message::ForWebhook;

/// What became of the alerts for one receiver since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeliveryStats {
    /// The receiver, by its name in the configuration.
    pub receiver: String,
    /// How many messages it has taken.
    pub delivered: u64,
    /// How many attempts failed.
    pub failed: u64,
    /// How many messages it will never take: it said so, or it was away for too long.
    pub given_up: u64,
    /// How many messages wait for it, in the journal.
    pub pending: u64,
    /// Why the last attempt failed; none once one has succeeded.
    pub error: Option<String>,
}
