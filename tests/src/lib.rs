//! What runs inside a test guest beside the tests themselves: its PID 1, and the helpers that the tests share.
//!
//! `cargo xtask vm` boots a guest whose `/init` is [`init`]. It reads its [`orders`], picks the tests that count there
//! by the table in [`scope`], runs each in a process of its own, and sends a [`report`] of each to the host.

pub mod init;
pub mod orders;
pub mod report;
pub mod scope;
