//! Something costs more than it did.

use serde::Serialize;

use crate::baseline::{Regression, words};

/// A capacity regression that begins or ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// What costs more, before and after.
    #[serde(flatten)]
    pub regression: Regression,
    /// What is reserved more than before, in bytes; 0 where it ends.
    pub lost_bytes: u64,
    /// The same in words.
    pub detail: String,
}

impl Capacity {
    /// One that begins.
    #[must_use]
    pub fn begins(regression: Regression) -> Self {
        Self { lost_bytes: regression.lost_bytes(), detail: words::of(&regression), regression }
    }

    /// One that ends.
    #[must_use]
    pub fn ends(regression: Regression) -> Self {
        Self { lost_bytes: 0, detail: words::ended(&regression), regression }
    }
}
