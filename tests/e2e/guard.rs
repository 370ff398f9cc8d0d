//! The guard: what it denies, and all that it must let pass.
//!
//! Most tests run on sound kernels with `Policy::strict`, to which a sound kernel's reservations are oversize: so denials
//! are seen on every kernel. The regressed kernel has its own, with the default policy.

mod allowed;
mod beside;
mod bind_ways;
mod bypass;
pub(crate) mod case;
mod denied;
mod existing;
mod hold;
mod lifecycle;
mod max128;
mod names_swap;
mod no_bpf;
mod no_room;
mod reconfigure;
mod seeds;
mod stock;
mod storms;
mod traps;
