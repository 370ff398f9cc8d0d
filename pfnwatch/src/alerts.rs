//! Alerts from the agent itself, for hosts that nobody scrapes.
//!
//! ```text
//! View ─▶ condition (what stands) ─▶ standing (what is news) ─▶ outbox ─▶ courier ─▶ http ─▶ Alertmanager, webhook
//! ```
//! All but `http` and `kept` is pure: no I/O, no clock. `pipeline/alerts` ties it to the agent's loop and to the journal.

mod alert;
mod backoff;
mod condition;
mod courier;
mod http;
pub mod kept;
mod message;
mod name;
mod outbox;
mod receiver;
mod standing;
#[cfg(test)]
mod tests;
mod words;

pub use self::{
    alert::{Alert, Labels, fingerprint},
    backoff::pause,
    condition::{Findings, findings},
    courier::{Courier, Delivery, Job},
    http::{Outcome, post},
    message::{Message, Post, rendered},
    name::{Name, Severity},
    outbox::{Keeper, Outbox, Waiting},
    receiver::{AlertsPolicy, Kind, RUNBOOK, Receiver},
    standing::{Change, Recently, Standing, Stood},
    words::{runbook, test_alert},
};

#[cfg(test)]
pub(crate) use self::message::ForWebhook;

/// What became of the alerts for one receiver since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Deliveries {
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
