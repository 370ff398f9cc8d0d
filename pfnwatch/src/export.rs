//! What leaves the agent: lines, journald, metrics, the web page, and alerts.

pub mod alerts;
mod guard_line;
pub mod http_client;
mod journald;
pub mod line;
pub mod log;
pub mod lossy_writer;
pub mod metrics;
pub mod web;
