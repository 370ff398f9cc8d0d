//! The subject of an exemption, as it comes over the socket.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use crate::model::policy::ExemptionSubject;
use crate::model::units::parse_number;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireSubject {
    RegionSetCookie(Hex),
    RegionStart(Hex),
    NamespaceUuid(Uuid),
}

/// `"0x100000000"`: addresses and cookies need all of their 64 bits, which many JSON readers truncate.
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
