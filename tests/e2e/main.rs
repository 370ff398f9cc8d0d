//! The end-to-end tests: run as root in a guest by `cargo xtask vm`, one process a test.

mod alerts;
mod burst;
mod geometry;
mod guard;
mod host;
mod inventory;
mod journal;
mod kernel;
mod leftovers;
mod life;
mod loss;
mod max128;
mod max128_changed;
mod max128_then_carried;
mod max32;
mod max32_override;
mod ndctl_size;
mod neighbours;
mod platform;
mod prediction;
mod refusal;
mod reload;
mod reservation;
mod seen;
mod told;
