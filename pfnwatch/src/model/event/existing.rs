//! A namespace that was there already when observing began.

use pfnwatch_common::Map;
use serde::Serialize;
use uuid::Uuid;

use super::EventAssessment;
use super::setup::map;

/// A namespace with map=dev, with its verdict, as the inventory has it. What could not be read is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExistingNamespace {
    /// `namespace0.0`
    pub namespace: String,
    /// The namespace uuid, from the label; null on legacy and e820 regions.
    pub namespace_uuid: Option<Uuid>,
    /// Physical address of its first byte.
    pub start_address: Option<u64>,
    /// Its size in bytes.
    pub size_bytes: Option<u64>,
    /// The pfn or dax device that holds it.
    pub device: Option<String>,
    /// Its region.
    pub region: String,
    /// `fsdax` or `devdax`.
    pub personality: &'static str,
    /// Where its memmap is.
    #[serde(serialize_with = "map")]
    #[cfg_attr(test, schemars(with = "Option<crate::model::event::setup::schema::Map>"))]
    pub map: Option<Map>,
    /// The alignment of the usable part, in bytes.
    pub align_bytes: Option<u64>,
    /// The uuid of its info block.
    pub block_uuid: Option<Uuid>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// From the start of the namespace to its first usable byte.
    pub reservation_bytes: Option<u64>,
    /// Usable bytes.
    pub usable_bytes: Option<u64>,
    /// MAX_STRUCT_PAGE_SIZE of the kernel that made its block, if that was read.
    pub page_struct_size_bytes: Option<u64>,
    /// Whether it costs what it should.
    #[serde(flatten)]
    pub judgement: EventAssessment,
}
