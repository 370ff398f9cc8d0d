//! The guard: what it denies, and what it must allow.
//!
//! Most tests run on sound kernels with `Policy::strict`, to which a sound kernel's reservations are oversize, so that
//! denials occur on every kernel. The regressed kernel has its own, with the default policy.

mod allowed;
mod bind_ways;
mod break_glass;
mod bypass;
mod denied;
mod edge_cases;
mod existing;
pub(crate) mod fixtures;
mod hold;
mod known_blocks_full;
mod lifecycle;
mod max128;
mod names_swap;
mod no_bpf;
mod reconfigure;
mod seeds;
mod sound_kernel;
mod two_guards;
mod unrelated_nodes;
mod unseen;
