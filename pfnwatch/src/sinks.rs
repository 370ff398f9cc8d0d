//! Where events go.

mod guard_line;
pub mod journald;
pub mod line;
pub mod log;
pub mod lossy_writer;
