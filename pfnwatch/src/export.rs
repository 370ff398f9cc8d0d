//! What leaves the agent: lines, journald, metrics, the web page, and alerts.

pub mod alerts;
mod device_line;
pub mod event_log;
mod guard_line;
pub mod http_client;
mod journald;
pub mod line;
pub mod lossy_writer;
pub mod metrics;
pub mod web;
