//! Alerts from the agent itself, for hosts that nobody scrapes.
//!
//! ```text
//! View ─▶ condition (what stands) ─▶ standing (what is news) ─▶ outbox ─▶ courier ─▶ http ─▶ Alertmanager, webhook
//! ```
//! All but `http` and `kept` is pure: no I/O, no clock. `pipeline/alerts` ties it to the agent's loop and to the journal.

mod backoff;
mod dispatcher;
mod firing;
mod http;
mod message;
mod messages;
pub mod outbox;
mod rules;
#[cfg(test)]
mod tests;

pub use self::{
    dispatcher::{Delivery, DeliveryJob, Dispatcher},
    firing::{AlertChange, FiringAlert, FiringAlerts, RecentEvents},
    http::{DeliveryResult, post},
    message::{Message, Payload, render},
    messages::{runbook, test_alert},
    outbox::{Outbox, Waiting},
    rules::{Findings, findings},
};

#[cfg(test)]
pub(crate) use self::message::ForWebhook;
