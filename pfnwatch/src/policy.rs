//! The policy of the guard in user space: compiling it for the kernel, and deciding as the guard would.
//!
//! Pure, without I/O and without a clock of its own: `config` makes a [`Policy`](crate::model::policy::Policy) of a file,
//! the control socket makes [`Grant`](crate::model::policy::Grant)s, and [`mod@compile`] makes of both the snapshot by
//! which the guard judges. [`judge`] gives the guard's decision in user space.

mod clock;
pub mod compile;
mod display;
pub mod judge;

pub use self::clock::Clock;
pub use self::compile::{Compiled, PolicyKernel, SkipReason, SkippedExemption, compile};
pub use self::display::{describe_limits, describe_mode, describe_on_agent_exit};
pub use pfnwatch_common::policy::MAX_EXEMPTIONS;
