//! The agent and the commands of pfnwatch.
//!
//! ```text
//! eBPF programs ─ring buffer─▶ source ─▶ decode ─▶ journal ─▶ sinks
//!       ▲                                  ▲
//!   bpf/attach ◀─ bpf/plan ◀─ kernel facts ┘
//! ```
//! `pipeline` is the loop that ties these together: read it first.

pub mod aftermath;
pub mod alerts;
pub mod assess;
pub mod bar;
pub mod baseline;
pub mod bpf;
pub mod cgroup;
pub mod cli;
pub mod columns;
pub mod command;
pub mod config;
pub mod control;
pub mod decode;
pub mod event;
pub mod exit;
pub mod fleet;
pub mod format;
pub mod guard;
pub mod http_client;
pub mod inventory;
pub mod journal;
pub mod kept;
pub mod kernel;
pub mod kernel_watch;
pub mod labels;
pub mod memory;
pub mod metrics;
pub mod module_watch;
pub mod observation;
pub mod paths;
pub mod pipeline;
pub mod policy;
pub mod privileges;
pub mod readers;
pub mod readiness;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod seeds;
pub mod service;
pub mod shutdown;
pub mod sinks;
pub mod source;
pub mod survey;
pub mod terminal;
pub mod ticks;
pub mod units;
pub mod verdicts;
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
