//! The policy of the guard: mode, thresholds, exemptions.

use std::time::SystemTime;

use pfnwatch_common::policy;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap as _};
use uuid::Uuid;

use crate::model::{inventory::Region, thresholds::Thresholds};

/// What the configuration says of the guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether an oversize creation is refused, or only reported.
    pub mode: Mode,
    /// What is oversize.
    pub thresholds: Thresholds,
    /// What becomes of the guard when the agent goes.
    pub on_agent_exit: OnAgentExit,
    /// What is let pass all the same; at most [`policy::MAX_EXEMPTIONS`].
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

/// What identifies a region, and where it lies; in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionFacts {
    /// Identifies it over boots; none on regions without labels.
    pub set_cookie: Option<u64>,
    /// Physical address of its first byte.
    pub start: u64,
    /// Its size.
    pub size: u64,
}

impl RegionFacts {
    /// Of a region of the inventory; none where its address is hidden from us or its size is not known.
    #[must_use]
    pub fn of(region: &Region) -> Option<Self> {
        let (start, size) = (region.resource.clone().ok()?, region.size.clone().ok()?);
        Some(Self { set_cookie: region.set_cookie.clone().ok().filter(|cookie| *cookie != 0), start, size })
    }

    /// The physical address of its last byte; none where it has none.
    #[must_use]
    pub const fn last(&self) -> Option<u64> {
        match self.size.checked_sub(1) {
            Some(length) => self.start.checked_add(length),
            None => None,
        }
    }

    /// Whether `subject` is about this region.
    #[must_use]
    pub fn is(&self, subject: ExemptionSubject) -> bool {
        match subject {
            ExemptionSubject::RegionCookie(cookie) => self.set_cookie == Some(cookie) && cookie != 0,
            ExemptionSubject::RegionStart(start) => self.start == start,
            ExemptionSubject::Namespace(_) => false,
        }
    }
}
