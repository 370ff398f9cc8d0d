//! What the eBPF programs and the agent share. No I/O, no allocation, no standard library.
#![cfg_attr(not(test), no_std)]

pub mod counter;
pub mod guard;
pub mod layout;
pub mod names;
pub mod policy;
pub mod record;
pub mod reservation;
pub mod superblock;

pub use reservation::{Geometry, KernelQuirks, Map, Rejection, Reservation, reservation};
pub use superblock::InfoBlock;
