//! The end-to-end tests: run as root in a guest by `cargo xtask vm`, one process a test.

mod kernel;
mod max128;
mod max128_changed;
mod max128_then_carried;
mod max32;
mod max32_override;
mod platform;
mod reservation;
mod seen;
