//! Capacity regressions: what memmaps cost now, held against what they cost before.
//!
//! Two things can cost more than they did: whatever this host makes from now on (`host`), since its kernel reserves more for
//! each page than one of an earlier boot; and a namespace (`ledger`) that was made anew by such a kernel. Both are pure;
//! `watch` feeds them, and writes down what they have learned. What somebody has read and accepts is the baseline from then on
//! (`accept`).

mod accept;
mod host;
mod ledger;
pub mod messages;
#[cfg(test)]
mod tests;
mod watch;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use accept::{AcceptError, Acceptance, BaselineScope};
pub use host::{ObservedKernel, host_regression, reference_cost};
pub use ledger::{CostHistory, CostRecord, RegressionChange};
pub use watch::{BaselineWatch, observed_kernel};

/// Something costs more than it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Regression {
    /// What costs more.
    #[serde(flatten)]
    pub subject: RegressionSubject,
    /// What it cost before: the least that is known.
    pub before: Cost,
    /// What it costs now.
    pub after: Cost,
}

impl Regression {
    /// What is reserved more than before, in bytes.
    #[must_use]
    pub const fn lost_bytes(&self) -> u64 {
        self.after.reservation_bytes.saturating_sub(self.before.reservation_bytes)
    }
}

/// What a regression is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "subject", rename_all = "snake_case")]
pub enum RegressionSubject {
    /// Whatever is made on this host from now on: the costs are those of a namespace of 1 TiB with map=dev.
    Host,
    /// One namespace.
    Namespace(NamespaceKey),
}

/// A namespace, as it is told apart from others over boots, kernels and reconfigurations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NamespaceKey {
    /// `namespace0.0`, as it was named last.
    pub namespace: String,
    /// Its namespace uuid; none on legacy and e820 regions.
    pub namespace_uuid: Option<Uuid>,
    /// Physical address of its first byte.
    pub start_address: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// What something cost under a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cost {
    /// The release of the kernel under which it was seen.
    pub kernel: String,
    /// When it was seen, in RFC 3339.
    pub seen: String,
    /// The reservation in bytes.
    pub reservation_bytes: u64,
    /// What of it is more than the ideal, in bytes.
    pub excess_bytes: u64,
    /// MAX_STRUCT_PAGE_SIZE of the kernel, or what the info block says that it was made with; in bytes.
    pub max_struct_page_size_bytes: Option<u64>,
}
