//! The policy of the guard: mode, thresholds, exemptions.

use std::time::SystemTime;

use pfnwatch_common::policy;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::model::inventory::Region;
use crate::model::thresholds::Thresholds;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether an oversize creation is refused, or only reported.
    pub mode: Mode,
    pub thresholds: Thresholds,
    pub on_agent_exit: OnAgentExit,
    /// At most [`policy::MAX_EXEMPTIONS`].
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
    /// Allow it, and report it
    Audit = policy::Mode::Audit as u32,
    /// Refuse it, and report it
    Enforce = policy::Mode::Enforce as u32,
}

/// What a person wants the mode to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ModeChoice {
    /// Allow an oversize creation, and report it
    Audit,
    /// Refuse it, and report it
    Enforce,
    /// The mode of the configuration, now and after each reload
    Configured,
}

impl ModeChoice {
    /// `None` for the configuration's.
    #[must_use]
    pub const fn mode(self) -> Option<Mode> {
        match self {
            Self::Audit => Some(Mode::Audit),
            Self::Enforce => Some(Mode::Enforce),
            Self::Configured => None,
        }
    }
}

/// Who has set the mode that is in force. A person's choice outlives restarts and reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[repr(u32)]
pub enum ModeSource {
    /// `mode` in the configuration.
    Configuration = policy::ModeSource::Configuration as u32,
    /// `pfnwatch mode`.
    Person = policy::ModeSource::Person as u32,
}

/// What happens to the guard when the agent ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OnAgentExit {
    /// It is removed too, and creations are allowed.
    #[default]
    Release,
    /// It stays and judges, until the next agent starts or somebody releases it.
    Hold,
}

impl OnAgentExit {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exemption {
    pub subject: ExemptionSubject,
    /// When it expires by the wall clock; `None` for never.
    pub until: Option<SystemTime>,
    pub reason: String,
}

/// What an exemption is for. A region's name is no identity: it may be another's after the next boot.
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
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::RegionCookie(_) => "region_set_cookie",
            Self::RegionStart(_) => "region_start",
            Self::Namespace(_) => "namespace_uuid",
        }
    }

    #[must_use]
    pub fn value(self) -> String {
        match self {
            Self::RegionCookie(number) | Self::RegionStart(number) => format!("{number:#x}"),
            Self::Namespace(uuid) => uuid.to_string(),
        }
    }
}

/// As in the configuration: `{"region_set_cookie": "0x…"}`, to be flattened.
impl Serialize for ExemptionSubject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.key(), &self.value())?;
        map.end()
    }
}

/// An exemption granted while the agent runs: `pfnwatch allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Below `policy::compile::CONFIGURED_ID_BIT`, not 0, and never reused while the agent or its pins exist.
    pub id: u64,
    pub subject: ExemptionSubject,
    /// When it expires, in nanoseconds since boot, suspend included; `None` for never.
    pub until_boot_ns: Option<u64>,
    pub once: bool,
    pub reason: String,
    /// Who asked for it: `root (uid 0)`.
    pub by: String,
}

/// The identity of a region, and its range in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionFacts {
    /// Its identity over boots; `None` on regions without labels.
    pub set_cookie: Option<u64>,
    /// Physical address of its first byte.
    pub start: u64,
    pub size: u64,
}

impl RegionFacts {
    /// Of a region of the inventory; `None` if its address is not readable or its size is unknown.
    #[must_use]
    pub fn of(region: &Region) -> Option<Self> {
        let (start, size) = (region.resource.clone().ok()?, region.size.clone().ok()?);
        Some(Self { set_cookie: region.set_cookie.clone().ok().filter(|cookie| *cookie != 0), start, size })
    }

    /// The physical address of its last byte; `None` if the size is 0 or the range overflows.
    #[must_use]
    pub const fn last(&self) -> Option<u64> {
        match self.size.checked_sub(1) {
            Some(length) => self.start.checked_add(length),
            None => None,
        }
    }

    #[must_use]
    pub fn is(&self, subject: ExemptionSubject) -> bool {
        match subject {
            ExemptionSubject::RegionCookie(cookie) => self.set_cookie == Some(cookie) && cookie != 0,
            ExemptionSubject::RegionStart(start) => self.start == start,
            ExemptionSubject::Namespace(_) => false,
        }
    }
}
