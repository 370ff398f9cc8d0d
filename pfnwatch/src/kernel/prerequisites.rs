//! What pfnwatch needs of a host, whether it is there, and what to do about the rest. Pure: judges [`Features`].

mod enforce;
mod information;
mod observe;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use serde::Serialize;

use super::features::Features;

pub use self::observe::{disarmed, lockdown};

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "IsThere"))]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It is there.
    Yes,
    /// It is not there.
    No,
    /// It is not known here, or not yet.
    Unknown,
}

impl Availability {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// What a prerequisite is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NeededFor {
    /// To see anything at all.
    Observe,
    /// To read the info blocks of namespaces that were enabled before the agent started.
    ExactInventory,
    /// To refuse an oversize namespace.
    Enforce,
    /// Nothing: good to know.
    Information,
}

impl NeededFor {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::ExactInventory => "exact inventory",
            Self::Enforce => "enforce",
            Self::Information => "information",
        }
    }
}

/// One thing that pfnwatch needs of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Prerequisite {
    /// Its name.
    pub name: &'static str,
    /// Whether it is there.
    pub answer: Availability,
    /// What was found.
    pub seen: String,
    /// What it is for.
    pub needed_for: NeededFor,
    /// What to do if it is missing.
    pub remedy: Option<String>,
}

impl Prerequisite {
    const fn new(name: &'static str, needed_for: NeededFor, answer: Availability, seen: String) -> Self {
        Self { name, answer, seen, needed_for, remedy: None }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Prerequisite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.seen)?;
        match &self.remedy {
            Some(remedy) => write!(f, " ({remedy})"),
            None => Ok(()),
        }
    }
}

/// The unmet prerequisites of a purpose.
pub fn unmet(rows: &[Prerequisite], purpose: NeededFor) -> impl Iterator<Item = &Prerequisite> {
    rows.iter().filter(move |row| row.needed_for == purpose && row.answer == Availability::No)
}

pub fn judge(host: &Features) -> Vec<Prerequisite> {
    let mut rows = observe::judge(host);
    rows.extend(enforce::judge(host));
    rows.extend(information::judge(host));
    rows
}

/// The answer for a purpose: no if one of its prerequisites is missing, unknown if one is unknown. Enforcing needs
/// observing, too.
pub fn answer(rows: &[Prerequisite], purpose: NeededFor) -> Availability {
    let counts = |row: &&Prerequisite| row.needed_for == purpose || row.needed_for == NeededFor::Observe;
    let has = |answer| rows.iter().filter(counts).any(|row| row.answer == answer);
    if has(Availability::No) {
        Availability::No
    } else if has(Availability::Unknown) {
        Availability::Unknown
    } else {
        Availability::Yes
    }
}
