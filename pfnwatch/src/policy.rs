//! The policy of the guard, as user space has it: what it says, what it covers, and how the kernel gets it.
//!
//! Pure, without I/O and without a clock of its own: `config` makes a [`Policy`] of a file, the control socket makes
//! [`Grant`]s, and [`mod@compile`] makes of both the snapshot that the guard judges by. [`judge`] says in user space what the
//! guard would have decided.

pub mod clock;
pub mod compile;
mod display;
pub mod judge;

use std::time::SystemTime;

use pfnwatch_common::policy;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap as _};
use uuid::Uuid;

pub use self::{
    clock::Clock,
    compile::{Compiled, PolicyKernel, RegionFacts, SkipReason, SkippedExemption, compile},
    display::{describe_limits, describe_mode, describe_on_agent_exit},
};
pub use pfnwatch_common::policy::MAX_EXEMPTIONS;

use crate::assess::Thresholds;

/// What the configuration says of the guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether an oversize creation is refused, or only reported.
    pub mode: Mode,
    /// What is oversize.
    pub thresholds: Thresholds,
    /// What becomes of the guard when the agent goes.
    pub on_agent_exit: OnAgentExit,
    /// What is let pass all the same; at most [`MOST_EXEMPTIONS`].
    pub exemptions: Vec<Exemption>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Audit,
            thresholds: Thresholds::default(),
            on_agent_exit: OnAgentExit::default(),
            exemptions: Vec::new(),
        }
    }
}

/// What the guard does about an oversize creation.
// The numbers are those that the guard in the kernel is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, strum::Display)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[repr(u32)]
pub enum Mode {
    /// Let it pass, and report it
    Audit = policy::Mode::Audit as u32,
    /// Refuse it, and report it
    Enforce = policy::Mode::Enforce as u32,
}

/// What becomes of the guard when the agent goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OnAgentExit {
    /// It goes too, and creations work.
    #[default]
    Release,
    /// It stays and judges on, until the next agent or until it is released by hand.
    Hold,
}

impl OnAgentExit {
    /// As the configuration and JSON have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// An exemption that the configuration grants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exemption {
    /// What is exempt.
    pub subject: ExemptionSubject,
    /// When it ends by the wall clock; never where there is none.
    pub until: Option<SystemTime>,
    /// Why; not empty.
    pub reason: String,
}

/// What an exemption is for. A region's name is no identity: it is another's after the next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExemptionSubject {
    /// All namespaces of the regions with this `set_cookie`.
    RegionCookie(u64),
    /// All namespaces of the region whose first byte has this physical address.
    RegionStart(u64),
    /// The namespace with this namespace uuid.
    Namespace(Uuid),
}

impl ExemptionSubject {
    /// Its key in the configuration and in JSON.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::RegionCookie(_) => "region_set_cookie",
            Self::RegionStart(_) => "region_start",
            Self::Namespace(_) => "namespace_uuid",
        }
    }

    /// Its value in the configuration and in JSON.
    #[must_use]
    pub fn value(self) -> String {
        match self {
            Self::RegionCookie(number) | Self::RegionStart(number) => format!("{number:#x}"),
            Self::Namespace(uuid) => uuid.to_string(),
        }
    }
}

/// As the configuration has it: `{"region_set_cookie": "0x…"}`, to be flattened into what it is the subject of.
impl Serialize for ExemptionSubject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.key(), &self.value())?;
        map.end()
    }
}

/// An exemption that somebody was granted while the agent runs: `pfnwatch allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its number: below [`compile::OF_CONFIGURATION`], not 0, and never used twice while the agent or its pins live.
    pub id: u64,
    /// What is exempt.
    pub subject: ExemptionSubject,
    /// When it ends, in nanoseconds since boot, suspend included; never where there is none.
    pub until_boot_ns: Option<u64>,
    /// Good for one creation.
    pub once: bool,
    /// Why.
    pub reason: String,
    /// Who asked for it, in words: `root (uid 0)`.
    pub by: String,
}
