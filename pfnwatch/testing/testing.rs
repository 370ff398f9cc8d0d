//! What unit tests alone need. None of it is in the production tree.

pub(crate) mod btf_writer;
pub(crate) mod events;
mod integration;
pub(crate) mod reference;
mod seeds;

/// Made-up agents, shared with the tests that run real programs on what is made of them.
#[path = "../tests/support/view.rs"]
pub(crate) mod view;

/// Made-up hosts, shared with the tests of the built binary and with `cargo xtask bench scan`.
#[path = "../tests/support/tree.rs"]
pub(crate) mod tree;

/// The published schemas and what is compared with them, shared with the tests of the built binary and with guests.
#[path = "../tests/support/schema.rs"]
pub(crate) mod schema;
