//! The fleet as Prometheus knows it (or what scales it: Thanos, Mimir), by its query API.

mod api;
mod hosts;
mod readiness;
#[cfg(test)]
mod tests;

pub use self::api::{Client, QueryResult, Sample};
pub use self::hosts::add;
pub use self::readiness::{Readiness, Reason, readiness};
