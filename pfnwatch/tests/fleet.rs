//! A fleet, made up: thousands of hosts under one real Prometheus and one real Alertmanager, and thousands of files. `cargo xtask
//! fleet-sim` fetches the two and runs what needs them.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::print_stdout, reason = "the same")]

#[path = "fleet/files.rs"]
mod files;
#[path = "fleet/history.rs"]
mod history;
#[path = "support/peak.rs"]
mod peak;
#[path = "support/reports.rs"]
mod reports;
#[path = "fleet/rollout.rs"]
mod rollout;
#[path = "fleet/secured.rs"]
mod secured;
#[path = "support/simulation.rs"]
mod simulation;
#[path = "support/stack.rs"]
mod stack;
#[path = "support/tree.rs"]
mod tree;
#[path = "support/view.rs"]
mod view;
#[path = "fleet/walkthrough.rs"]
mod walkthrough;
