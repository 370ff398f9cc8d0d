//! The end-to-end tests: run as root in a guest by `cargo xtask vm`, one process a test.

mod geometry;
mod platform;
mod reservation;
