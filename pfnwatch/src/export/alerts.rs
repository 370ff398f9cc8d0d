//! Alerts from the agent itself, for hosts that nobody scrapes.
//!
//! ```text
//! View ─▶ rules (findings) ─▶ firing (changes) ─▶ outbox ─▶ dispatcher ─▶ http ─▶ Alertmanager, webhook
//! ```
//! All but `http` is pure: no I/O, no clock. `agent/alerts` ties it to the agent's loop, `agent/alert_store` to the store.

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
