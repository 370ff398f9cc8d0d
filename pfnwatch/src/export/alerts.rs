//! Alerts from the agent itself, for hosts that nobody scrapes.
//!
//! ```text
//! View ─▶ rules (findings) ─▶ firing (changes) ─▶ outbox ─▶ dispatcher ─▶ http ─▶ Alertmanager, webhook
//! ```
//! All but `http` is pure: no I/O, no clock. `agent/alerts` ties it to the agent's loop, `agent/alert_store` to the store.

mod annotations;
mod dispatcher;
mod firing;
mod http;
pub mod outbox;
mod rules;
#[cfg(test)]
mod tests;

pub use self::annotations::{runbook, test_alert};
pub use self::dispatcher::{Delivery, DeliveryJob, Dispatcher};
pub use self::firing::{AlertChange, FiringAlert, FiringAlerts, RecentEvents};
pub use self::http::{DeliveryResult, Message, Payload, post, render};
pub use self::outbox::{Outbox, Waiting};
pub use self::rules::{Findings, findings};

#[cfg(test)]
pub(crate) use self::http::ForWebhook;
