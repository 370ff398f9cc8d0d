//! The alerts that there are, by their stable names.

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::VariantArray as _;

/// Rules and silences are written against these names: they never change.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "AlertName"))]
#[strum(prefix = "Pfnwatch")]
pub enum AlertName {
    /// Whatever is made on this host from now on costs more than under an earlier kernel.
    #[serde(rename = "PfnwatchCapacityRegression")]
    CapacityRegression,
    /// A namespace costs more than it did.
    #[serde(rename = "PfnwatchNamespaceRegression")]
    NamespaceRegression,
    /// A namespace costs more than it should.
    #[serde(rename = "PfnwatchNamespaceOversize")]
    NamespaceOversize,
    /// The agent is up and sees nothing.
    #[serde(rename = "PfnwatchBlind")]
    Blind,
    /// The mode is enforce, and oversize creations are not refused.
    #[serde(rename = "PfnwatchEnforceNotEffective")]
    EnforceNotEffective,
    /// A person has set another mode than the configuration's, and it is in force.
    #[serde(rename = "PfnwatchModeOverridden")]
    ModeOverridden,
    /// The guard refused creations.
    #[serde(rename = "PfnwatchCreationDenied")]
    CreationDenied,
    /// What happened in the kernel was not all seen.
    #[serde(rename = "PfnwatchRecordsLost")]
    RecordsLost,
    /// The event store cannot save events.
    #[serde(rename = "PfnwatchStoreFailing")]
    StoreFailing,
    /// What tells of the kernel's MAX_STRUCT_PAGE_SIZE contradicts itself.
    #[serde(rename = "PfnwatchEvidenceConflict")]
    EvidenceConflict,
    /// The configuration's file is not what is in force, since it is wrong.
    #[serde(rename = "PfnwatchPolicyInvalid")]
    PolicyInvalid,
    /// Somebody tries whether alerts arrive.
    #[serde(rename = "PfnwatchTest")]
    Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Severity {
    /// Now: something that was asked for is not done.
    Critical,
    Warning,
    Info,
}

impl AlertName {
    pub const ALL: &[Self] = Self::VARIANTS;

    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::EnforceNotEffective => Severity::Critical,
            Self::CreationDenied | Self::Test => Severity::Info,
            Self::CapacityRegression
            | Self::NamespaceRegression
            | Self::NamespaceOversize
            | Self::Blind
            | Self::ModeOverridden
            | Self::RecordsLost
            | Self::StoreFailing
            | Self::EvidenceConflict
            | Self::PolicyInvalid => Severity::Warning,
        }
    }
}

impl fmt::Display for AlertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Severity {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_is_what_is_stored() {
        for name in AlertName::ALL {
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
    }
}
