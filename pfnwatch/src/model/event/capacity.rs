//! Something costs more than it did.

use serde::Serialize;

use super::Actor;
use crate::model::capacity::{Regression, describe, describe_accepted, describe_ended};

/// A capacity regression that begins or ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CapacityRegression {
    /// What costs more, before and after.
    #[serde(flatten)]
    pub regression: Regression,
    /// By how much the reservation grew, or what a device lost, in bytes; 0 when the regression ends.
    pub lost_bytes: u64,
    /// The regression in words.
    pub detail: String,
}

impl CapacityRegression {
    #[must_use]
    pub fn begins(regression: Regression) -> Self {
        Self { lost_bytes: regression.lost_bytes(), detail: describe(&regression), regression }
    }

    #[must_use]
    pub fn ends(regression: Regression) -> Self {
        Self { lost_bytes: 0, detail: describe_ended(&regression), regression }
    }
}

/// Somebody took what is there now for the baseline: the regression ends with that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BaselineAccepted {
    /// What is accepted: before, and from now on.
    #[serde(flatten)]
    pub regression: Regression,
    /// Why: the reason that they gave.
    pub reason: String,
    /// Who.
    pub by: Option<Actor>,
    /// The regression in words.
    pub detail: String,
}

impl BaselineAccepted {
    #[must_use]
    pub fn new(regression: Regression, reason: String, by: Actor) -> Self {
        Self { detail: describe_accepted(&regression), regression, reason, by: Some(by) }
    }
}
