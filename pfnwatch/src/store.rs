//! The event store: one SQLite file with every event, the info blocks of namespaces, the kernels of all boots, and undelivered
//! alerts.
//!
//! If the file cannot be used, the agent continues to observe and to guard: [`EventStore`] then returns `None`, and
//! [`EventStore::health`] has the error. The SQL of each table is in the module of its name.

mod alerts;
mod blocks;
mod boots;
mod convert;
mod costs;
mod damaged;
mod deliveries;
mod devices;
mod error;
mod event_store;
mod events;
mod log_readers;
mod open;
mod pending;
mod reader;
mod retention;
mod schema;
#[cfg(test)]
mod tests;

pub use self::alerts::AlertRow;
pub use self::deliveries::OutboxRow;
pub use self::error::StoreError;
pub use self::event_store::EventStore;
pub use self::reader::{EventFilter, Reader, StoredEvent};
