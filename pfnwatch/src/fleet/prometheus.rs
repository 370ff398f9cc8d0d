//! The fleet as Prometheus knows it (or what scales it: Thanos, Mimir), by its query API.

mod api;
mod hosts;
mod readiness;
#[cfg(test)]
mod tests;

pub use api::{Client, QueryResult, Sample};
pub use hosts::add;
pub use readiness::{Readiness, Reason, readiness};
