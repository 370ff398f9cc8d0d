//! Somebody has read of a regression, and takes what is there now for the baseline. Pure.

use serde::{Deserialize, Serialize};

/// Who has accepted a cost, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Acceptance {
    /// Who, in words.
    pub by: String,
    /// Why, as they said it.
    pub reason: String,
    /// When, in RFC 3339.
    pub time: String,
}

/// Whose cost is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BaselineScope {
    /// The host's: what the running kernel makes of a namespace.
    Host,
    /// A namespace's, by its name, its namespace uuid or its first address (`0x…`).
    Namespace(String),
}

/// Why nothing was accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// There is no regression of that name.
    #[error("{0} does not cost more than it did, as far as the agent knows: `pfnwatch baseline` shows what does")]
    NoRegression(String),
    /// More than one.
    #[error("several namespaces went by the name {0}: say its namespace uuid, or its first address as 0x…")]
    Ambiguous(String),
    /// The regression is that of an earlier boot, or of a libnvdimm that is not loaded.
    #[error("what the running kernel reserves for each page is not known: load libnvdimm, and accept it then")]
    UnknownKernel,
    /// The journal does not take it.
    #[error(
        "the journal does not take it, and it would be forgotten with this agent: `pfnwatch status` says what is wrong with the journal"
    )]
    NotSaved,
}
