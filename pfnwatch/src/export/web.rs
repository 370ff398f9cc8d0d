//! The web server: a page for people, metrics, liveness and readiness. It reads, and changes nothing.
//!
//! Clients are untrusted: the number of connections, their time and the size of requests are bounded, a connection is
//! good for one request, and the agent's loop is asked for a [`View`](crate::model::view::View) at most once a second.
//! `host`, `route` and the rendering of a view are pure.

mod connection;
mod health;
mod host_header;
mod page;
mod reply;
mod route;
mod server;
mod snapshot_cache;
#[cfg(test)]
mod tests;

pub use self::{
    server::Web,
    snapshot_cache::{SNAPSHOT_TTL, SharedView, ViewCache, ViewRequest},
};
