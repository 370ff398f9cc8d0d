//! What the guard made of a creation with map=dev, before anything was written.

use pfnwatch_common::{Map, superblock};
use serde::Serialize;
use uuid::Uuid;

use super::setup::{map, personality};
use super::{Actor, NamespaceId, Time};
use crate::model::verdict::Cause;

/// A creation that the guard denied, would have denied, allowed by an exemption, or could not judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GuardDecision {
    /// The pfn or dax device that was bound: `pfn0.1`.
    pub device: String,
    /// Its region.
    pub region: Option<String>,
    /// The namespace.
    #[serde(flatten)]
    pub namespace: Option<NamespaceId>,
    /// fsdax or devdax.
    #[serde(serialize_with = "personality")]
    #[cfg_attr(test, schemars(with = "crate::model::event::setup::schema::Personality"))]
    pub personality: superblock::SuperblockKind,
    /// Where the memmap would be: `dev`, since the guard judges nothing else.
    #[serde(serialize_with = "map")]
    #[cfg_attr(test, schemars(with = "Option<crate::model::event::setup::schema::Map>"))]
    pub map: Option<Map>,
    /// The alignment of the usable part, in bytes.
    pub align_bytes: u64,
    /// The uuid of the pfn or dax device, which the block would have had.
    pub block_uuid: Option<Uuid>,
    /// What would be reserved, in bytes; null if it was not computed. Current kernels write a start_pad of 0, so that it
    /// equals the dataoff.
    pub reservation_bytes: Option<u64>,
    /// Bytes that would be cut off at the end.
    pub end_trunc_bytes: Option<u64>,
    /// The reservation of the same geometry at the reference struct page size.
    pub ideal_bytes: Option<u64>,
    /// reservation - ideal, never negative.
    pub excess_bytes: Option<u64>,
    /// The running kernel's MAX_STRUCT_PAGE_SIZE, which the reservation was computed with.
    pub max_struct_page_size_bytes: Option<u64>,
    /// The cause of its cost.
    pub cause: Cause,
    /// The letter of the waste class, for the six causes that have one.
    pub class: Option<char>,
    /// Why it could not be judged, for an `unjudged`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<UnjudgedReason>,
    /// The exemption that allowed it, for an `exempt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exemption: Option<ExemptionUsed>,
    /// The number of the policy that it was judged by.
    pub policy: u64,
    /// Whether some of the kernel's memory could not be read, so that fields may be missing.
    pub incomplete: bool,
    /// Who asked for it.
    pub by: Option<Actor>,
    /// What was done and why, in one sentence.
    pub detail: String,
    /// Alternatives, the simplest first.
    pub remedies: Vec<String>,
    /// The info block that the namespace had before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<ReplacedBlock>,
}

/// Why a creation could not be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "UnjudgedReason"))]
#[serde(rename_all = "snake_case")]
pub enum UnjudgedReason {
    /// The agent has not finished its first scan.
    NotArmed,
    /// libnvdimm was reloaded after the agent's first scan.
    ModuleChanged,
    /// MAX_STRUCT_PAGE_SIZE of the running kernel is not known.
    NoMaxStructPage,
    /// The policy was replaced again and again meanwhile.
    PolicyChanged,
    /// The namespace may have a valid block that pfnwatch has not seen, or that did not fit into its table.
    BlockMissed,
}

impl UnjudgedReason {
    /// A description, after "unjudged: ".
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::NotArmed => "pfnwatch had not finished its first scan of the namespaces",
            Self::ModuleChanged => "libnvdimm was reloaded after pfnwatch's first scan",
            Self::NoMaxStructPage => "what this kernel reserves for each page is not known",
            Self::PolicyChanged => "the policy was replaced again and again meanwhile",
            Self::BlockMissed => {
                "the namespace may have a valid info block that pfnwatch has not seen, or had no room to remember"
            }
        }
    }
}

/// The exemption that allowed a creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExemptionUsed {
    /// Its number.
    pub id: u64,
    /// What it is for, in words; null until the agent fills it in.
    pub subject: Option<String>,
    /// Why it was granted; null until the agent fills it in.
    pub reason: Option<String>,
}

/// The info block that a namespace had before a creation, as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReplacedBlock {
    /// The namespace uuid at that time: `--reconfig` assigns another.
    pub namespace_uuid: Option<Uuid>,
    /// fsdax or devdax.
    #[serde(serialize_with = "personality")]
    #[cfg_attr(test, schemars(with = "crate::model::event::setup::schema::Personality"))]
    pub personality: superblock::SuperblockKind,
    /// Where the memmap was.
    #[serde(serialize_with = "map")]
    #[cfg_attr(test, schemars(with = "Option<crate::model::event::setup::schema::Map>"))]
    pub map: Option<Map>,
    /// The block's align.
    pub align_bytes: u64,
    /// The block uuid.
    pub block_uuid: Option<Uuid>,
    /// The block's `start_pad + dataoff`.
    pub reservation_bytes: Option<u64>,
    /// The block's `dataoff`.
    pub dataoff_bytes: u64,
    /// The block's `npfns`.
    pub npfns: u64,
    /// When the block was last seen.
    pub last_seen: Time,
    /// How the block is known.
    pub origin: BlockOrigin,
    /// Whether it should still be on the media: the creation was refused, and no writer was seen since.
    pub still_on_media: bool,
    /// The commands that restore it, if nothing but the block was lost; else empty.
    pub restore_commands: Vec<String>,
}

/// How a saved info block is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BlockOrigin {
    /// All of its 4 KiB were read, and the checksum is right.
    Read,
    /// Rebuilt from the head of a block that the kernel was seen to make: byte for byte, since the kernel leaves the rest
    /// zero.
    Made,
    /// Rebuilt from the head of a block that the kernel was seen to accept: identical if the rest is zero, as every
    /// known writer leaves it.
    Accepted,
}
