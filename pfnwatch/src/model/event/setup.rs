//! The event that pfnwatch is about: what `nvdimm_setup_pfn` did.

use pfnwatch_common::{InfoBlock, Map, superblock};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::{Attempt, NamespaceId};
use crate::model::facts::map_name;
use crate::model::verdict::{Cause, Evidence, Verdict};

/// A set-up: the kernel made an info block and reserved the memmap, accepted an existing block, or refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SetUp {
    /// How the attempt went.
    #[serde(flatten)]
    pub attempt: Attempt,
    /// The namespace.
    #[serde(flatten)]
    pub namespace: Option<NamespaceId>,
    /// fsdax or devdax.
    #[serde(serialize_with = "personality")]
    #[cfg_attr(test, schemars(with = "crate::model::event::setup::schema::Personality"))]
    pub personality: superblock::SuperblockKind,
    /// Where the memmap is; null if the device asks for neither.
    #[serde(serialize_with = "map")]
    #[cfg_attr(test, schemars(with = "Option<crate::model::event::setup::schema::Map>"))]
    pub map: Option<Map>,
    /// The alignment of the usable part, in bytes.
    pub align_bytes: u64,
    /// The uuid of the pfn or dax device and of its info block.
    pub block_uuid: Option<Uuid>,
    /// The state of the info block afterwards.
    pub block: BlockState,
    /// The state of the namespace afterwards.
    pub outcome: SetUpOutcome,
    /// What `nvdimm_setup_pfn` returned: 0 or a negative error number; null if its return was missed.
    pub setup_code: Option<i32>,
    /// The meaning of these values, in words.
    pub meaning: String,
    /// The fields of the block; absent if there is no block, or if it is invalid.
    #[serde(flatten)]
    pub sizes: Option<Sizes>,
    /// `sizeof(struct page)` of the running kernel, in bytes.
    pub struct_page_size_bytes: Option<u64>,
    /// Whether it costs what it should; none before it was judged.
    #[serde(flatten)]
    pub judgement: Option<EventAssessment>,
    /// What the guard decided before the block was made; null if no block was made with map=dev.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<Prediction>,
    /// The block itself, for what judges the event.
    #[serde(skip)]
    pub info_block: Option<InfoBlock>,
}

/// The verdict on a set-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventAssessment {
    /// Whether it costs what it should.
    pub verdict: Verdict,
    /// The cause of its cost.
    pub cause: Cause,
    /// The letter of the waste class, for the six causes that have one.
    pub class: Option<char>,
    /// The reservation of the same geometry at the reference struct page size.
    pub ideal_bytes: Option<u64>,
    /// reservation - ideal, never negative.
    pub excess_bytes: Option<u64>,
    /// reservation - the formula at the running kernel's `sizeof(struct page)`, never negative: information only.
    pub unused_bytes: Option<u64>,
    /// DRAM that holds the struct pages of the namespace while it is enabled, in bytes; 0 if it is not enabled, absent if it
    /// is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memmap_dram_bytes: Option<u64>,
    /// Where the reservation came from.
    pub evidence: Option<Evidence>,
    /// One sentence for people.
    pub detail: String,
}

/// The guard's decision on a creation, compared with its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Prediction {
    /// What the guard decided.
    pub decision: GuardVerdict,
    /// The reservation that it predicted, in bytes, if it computed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_bytes: Option<u64>,
    /// Whether the outcome differs: oversize although it was not found so, or another reservation than predicted.
    pub mismatch: bool,
}

/// What the guard decided about a creation that went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GuardVerdict {
    /// It judged the creation, and found it not oversize.
    Passed,
    /// Enforce would have refused it.
    WouldDeny,
    /// Oversize, and allowed by an exemption.
    Exempt,
    /// It could not be judged.
    Unjudged,
    /// No guard judged by the thresholds that are in force now.
    NotSeen,
}

/// The sizes that follow from an info block. `size = reservation + usable + end_trunc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sizes {
    /// From the start of the namespace to its first usable byte: `start_pad + dataoff`.
    pub reservation_bytes: u64,
    /// The block's `dataoff`.
    pub dataoff_bytes: u64,
    /// The block's `start_pad`.
    pub start_pad_bytes: u64,
    /// The block's `end_trunc`.
    pub end_trunc_bytes: u64,
    /// Usable bytes, from the device's size attribute.
    pub usable_bytes: u64,
    /// The block's `npfns`.
    pub npfns: u64,
    /// The block's `page_struct_size`: MAX_STRUCT_PAGE_SIZE of the kernel that made it.
    pub page_struct_size_bytes: u64,
    /// The block's `page_size`: that of the kernel that made it; null in blocks before minor version 4.
    pub block_page_size_bytes: Option<u64>,
}

/// The state of the info block afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BlockState {
    /// There was none, and the kernel wrote one: the reservation is permanent.
    Made,
    /// One existed, and the kernel accepted it: nothing was written.
    Existing,
    /// There is one, and the kernel does not accept it.
    Rejected,
    /// There was none, and none was written.
    None,
    /// The result of `nd_pfn_validate` was not seen.
    Unknown,
}

/// The state of the namespace afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SetUpOutcome {
    /// It is enabled.
    Enabled,
    /// It is not, and nothing was reserved by this attempt.
    Refused,
    /// The block was written, and then the driver failed: the bytes are reserved, and the namespace is not enabled.
    ReservedNotEnabled,
    /// The end of the attempt was not seen.
    Unknown,
}

pub(super) fn personality<S: Serializer>(kind: &superblock::SuperblockKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(personality_name(*kind))
}

pub const fn personality_name(kind: superblock::SuperblockKind) -> &'static str {
    match kind {
        superblock::SuperblockKind::Pfn => "fsdax",
        superblock::SuperblockKind::Dax => "devdax",
    }
}

pub(super) fn map<S: Serializer>(map: &Option<Map>, serializer: S) -> Result<S::Ok, S::Error> {
    match map {
        Some(map) => serializer.serialize_some(map_name(*map)),
        None => serializer.serialize_none(),
    }
}

/// Schemas for types of pfnwatch-common, which has no JSON.
#[cfg(test)]
pub(super) mod schema {
    use schemars::JsonSchema;

    /// fsdax or devdax.
    #[derive(JsonSchema)]
    #[schemars(rename_all = "snake_case")]
    #[expect(dead_code, reason = "the schema of a type that serialises as this one would")]
    pub(in crate::model) enum Personality {
        /// A block device with DAX.
        Fsdax,
        /// A character device with DAX.
        Devdax,
    }

    /// Where the memmap is.
    #[derive(JsonSchema)]
    #[schemars(rename_all = "snake_case")]
    #[expect(dead_code, reason = "the schema of a type that serialises as this one would")]
    pub(in crate::model) enum Map {
        /// On the persistent memory itself: it is reserved there.
        Dev,
        /// In DRAM.
        Mem,
    }
}
