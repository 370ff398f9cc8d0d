//! The agent and the commands of pfnwatch.
//!
//! ```text
//! ring buffer ─▶ source ─▶ decode ─▶ (assess) ─▶ sinks
//!                            ▲
//!              kernel facts ─┘
//! ```
//! `pipeline` is the loop that ties these together: read it first.

pub mod assess;
pub mod cli;
pub mod command;
pub mod exit;
pub mod inventory;
pub mod units;
