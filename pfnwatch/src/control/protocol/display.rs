//! The policy's words, as they come over the socket.

use std::fmt;

use pfnwatch_common::policy;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use uuid::Uuid;

use crate::{inventory::attribute::parse_number, policy::ExemptionSubject};

/// What the guard does about an oversize creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WireMode {
    /// Let it pass, and report it
    Audit,
    /// Refuse it, and report it
    Enforce,
}

impl fmt::Display for WireMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(crate::policy::mode_name((*self).into()))
    }
}

impl From<WireMode> for policy::Mode {
    fn from(mode: WireMode) -> Self {
        match mode {
            WireMode::Audit => Self::Audit,
            WireMode::Enforce => Self::Enforce,
        }
    }
}

impl From<policy::Mode> for WireMode {
    fn from(mode: policy::Mode) -> Self {
        match mode {
            policy::Mode::Audit => Self::Audit,
            policy::Mode::Enforce => Self::Enforce,
        }
    }
}

/// The keys of a [`Subject`] as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireSubject {
    RegionSetCookie(Hex),
    RegionStart(Hex),
    NamespaceUuid(Uuid),
}

/// `"0x100000000"`: addresses and cookies need all of their 64 bits, which many readers of JSON cut.
struct Hex(u64);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = Some(&*text).filter(|text| text.starts_with("0x")).and_then(parse_number);
        number.map(Self).ok_or_else(|| D::Error::custom("it must be a number of 64 bits as in \"0x100000000\""))
    }
}

impl<'de> Deserialize<'de> for ExemptionSubject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match WireSubject::deserialize(deserializer)? {
            WireSubject::RegionSetCookie(Hex(cookie)) => Self::RegionCookie(cookie),
            WireSubject::RegionStart(Hex(start)) => Self::RegionStart(start),
            WireSubject::NamespaceUuid(uuid) => Self::Namespace(uuid),
        })
    }
}
