//! What unit tests alone need. None of it is in the production tree.

pub(crate) mod btf_writer;
pub(crate) mod events;
mod integration;
pub(crate) mod reference;
mod seeds;

#[path = "../tests/support/kernel.rs"]
pub(crate) mod kernel;

#[path = "../tests/support/run_agent.rs"]
pub(crate) mod run_agent;

#[path = "../tests/support/view.rs"]
pub(crate) mod view;

#[path = "../tests/support/tree.rs"]
pub(crate) mod tree;

#[path = "../tests/support/schema.rs"]
pub(crate) mod schema;
