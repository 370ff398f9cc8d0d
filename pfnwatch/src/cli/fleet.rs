//! Many hosts at once. What a host reports is added to the fleet's sums as it comes and then let go of: what stays in memory
//! grows with the number of kernel releases, and not with that of hosts.

mod host;
mod releases;
mod totals;

pub mod files;
pub mod prometheus;

pub use self::host::{CapacityTotals, Host, HostProblem};
pub use self::releases::Release;
pub use self::totals::{Fleet, FleetTotals, Truncated};
