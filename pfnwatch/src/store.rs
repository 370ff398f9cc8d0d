//! The event store: one SQLite file with every event, the namespaces and their info blocks, the kernels of all boots, and alerts
//! that are not delivered yet.
//!
//! Whatever goes wrong with the file, the agent observes and guards on: each function then gives `None` or nothing, and
//! [`EventStore::health`] says why.

mod blocks;
mod boots;
mod convert;
mod costs;
mod error;
mod event_store;
mod events;
mod open;
mod outbox;
mod reader;
mod retention;
mod schema;
#[cfg(test)]
mod tests;

pub use self::{
    error::StoreError,
    event_store::EventStore,
    outbox::{AlertRow, OutboxRow},
    reader::{EventFilter, Reader, StoredEvent},
};
