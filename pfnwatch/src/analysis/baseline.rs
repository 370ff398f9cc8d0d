//! Capacity regressions: the current cost of memmaps, compared with their earlier cost.
//!
//! Two things can cost more: future namespaces of this host (`host`), since its kernel reserves more for each page than
//! one of an earlier boot; and a namespace (`ledger`) that such a kernel made again. Both are pure;
//! `agent/baseline_watch` calls them, and saves the records. An accepted cost is the new baseline (`accept`).

mod host;
pub mod ledger;
#[cfg(test)]
mod tests;

pub use self::host::{host_regression, reference_cost};
pub use self::ledger::{CostHistory, RegressionChange};
