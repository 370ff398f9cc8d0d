//! Capacity regressions: what memmaps cost now, held against what they cost before.
//!
//! Two things can cost more than they did: whatever this host makes from now on (`host`), since its kernel reserves more for
//! each page than one of an earlier boot; and a namespace (`ledger`) that was made anew by such a kernel. Both are pure;
//! `watch` feeds them, and writes down what they have learned. What somebody has read and accepts is the baseline from then on
//! (`accept`).

mod host;
pub mod ledger;
#[cfg(test)]
mod tests;

pub use self::host::{host_regression, reference_cost};
pub use self::ledger::{CostHistory, RegressionChange};
