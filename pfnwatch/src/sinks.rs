//! Where events go.

mod guard_line;
pub mod line;
pub mod log;
