//! The agent and the commands of pfnwatch.
//!
//! Each module below is a room: its first line says what it contains, and ARCHITECTURE.md has the table of who may import
//! whom, which `cargo xtask check` enforces. Read `agent` first: it is the loop that ties the rooms together.

pub mod agent;
pub mod analysis;
pub mod bpf;
pub mod cli;
pub mod code;
pub mod config;
pub mod export;
pub mod guard;
pub mod image;
pub mod kernel;
pub mod model;
pub mod os;
pub mod policy;
pub mod scan;
pub mod store;
pub mod sysfs;

#[cfg(test)]
extern crate self as pfnwatch;

/// What unit tests alone need: made-up hosts and agents, encoders of what the parsers read, and the generated reference.
#[cfg(test)]
#[path = "../testing/testing.rs"]
mod testing;
