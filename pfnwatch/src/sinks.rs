//! Where events go.

pub mod line;
pub mod log;
