//! The agent and the commands of pfnwatch.
//!
//! ```text
//! eBPF programs ─ring buffer─▶ source ─▶ decode ─▶ store ─▶ sinks
//!       ▲                                  ▲
//!   bpf/attach ◀─ bpf/plan ◀─ kernel facts ┘
//! ```
//! `agent` is the loop that ties these together: read it first.

pub mod access;
pub mod agent;
pub mod alerts;
pub mod assess;
pub mod async_fd;
pub mod bar;
pub mod baseline;
pub mod bpf;
pub mod cgroup;
pub mod cli;
pub mod command;
pub mod config;
pub mod control;
pub mod decode;
pub mod event;
pub mod event_assessment;
pub mod exit;
pub mod fleet;
pub mod format;
pub mod guard;
pub mod http_client;
pub mod info_block_cache;
pub mod interval;
pub mod inventory;
pub mod kernel;
pub mod kernel_watch;
pub mod label_tracker;
pub mod memory_trim;
pub mod metrics;
pub mod module_watch;
pub mod paths;
pub mod policy;
pub mod prediction_check;
pub mod privileges;
#[cfg(test)]
mod reference;
pub mod scan;
#[cfg(test)]
mod seeds;
pub mod sensor;
pub mod shutdown;
pub mod sinks;
pub mod source;
pub mod store;
pub mod systemd;
pub mod table_style;
pub mod terminal;
pub mod units;
pub mod view;
pub mod web;

#[cfg(test)]
extern crate self as pfnwatch;

/// Made-up agents, shared with the tests that run real programs on what is made of them.
#[cfg(test)]
#[path = "../tests/support/view.rs"]
mod made_up;

/// Made-up hosts, shared with the tests of the built binary and with `cargo xtask bench scan`.
#[cfg(test)]
#[path = "../tests/support/tree.rs"]
mod tree;

/// The published schemas and what is held against them, shared with the tests of the built binary and with guests.
#[cfg(test)]
#[path = "../tests/support/schema.rs"]
mod published;
