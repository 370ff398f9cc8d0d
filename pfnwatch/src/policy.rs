//! The policy of the guard in user space: compiling it for the kernel, and deciding as the guard would.
//!
//! Pure, without I/O and without a clock of its own: `config` makes a [`Policy`] of a file, the control socket makes
//! [`Grant`]s, and [`mod@compile`] makes of both the snapshot that the guard judges by. [`judge`] says in user space what the
//! guard would have decided.

mod clock;
pub mod compile;
mod display;
pub mod judge;

pub use self::{
    clock::Clock,
    compile::{Compiled, PolicyKernel, SkipReason, SkippedExemption, compile},
    display::{describe_limits, describe_mode, describe_on_agent_exit},
};
pub use pfnwatch_common::policy::MAX_EXEMPTIONS;
