//! The web server: a page for people, metrics, and whether the agent lives and is ready. It reads, and changes nothing.
//!
//! Whoever reaches the port may be anybody: the number of connections, their time and the size of what they say are bounded,
//! a connection is good for one request, and the agent's loop is asked for a [`View`](crate::model::view::View) once a second at
//! most, however many ask. `host` and `route` are pure, and so is what is made of a view.

mod connection;
mod health;
mod host;
mod page;
mod reply;
mod route;
mod server;
mod snapshot_cache;
#[cfg(test)]
mod tests;

pub use self::{server::Web, snapshot_cache::ViewRequest};
