//! Capacity regressions: what memmaps cost now, compared with what they cost before.
//!
//! Two things can cost more than before: each namespace that this host creates from now on (`host_regression`), if its kernel reserves more
//! for each page than the kernel of an earlier boot; and one namespace (`cost_history`) that such a kernel created again. Both are
//! pure; `agent/baseline_watch` feeds them and saves the results.

pub mod cost_history;
mod host_regression;

#[cfg(test)]
mod tests;

pub use self::cost_history::{CostHistory, RegressionChange};
pub use self::host_regression::{host_regression, reference, reference_cost};
