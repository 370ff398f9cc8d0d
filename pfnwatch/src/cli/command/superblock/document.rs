//! The report as programs read it.

use serde::Serialize;
use uuid::Uuid;

use super::report::{SuperblockReport, map, mode};

/// An info block, field by field, with what the formula says to it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SuperblockDocument"))]
pub(in crate::cli::command) struct SuperblockDocument {
    /// Where the block was found in its file, in bytes.
    offset_bytes: u64,
    /// `fsdax` or `devdax`.
    mode: &'static str,
    /// Where the memmap lives: `dev` or `mem`; null for a mode that no kernel knows.
    map: Option<&'static str>,
    /// The version of its layout: `1.4`.
    version: String,
    /// The block uuid.
    uuid: Uuid,
    /// The uuid of the namespace that it was made for.
    namespace_uuid: Uuid,
    /// The block's `dataoff`.
    dataoff_bytes: u64,
    /// The block's `start_pad`.
    start_pad_bytes: u32,
    /// The block's `end_trunc`.
    end_trunc_bytes: u32,
    /// The block's `npfns`: how many pages are usable.
    npfns: u64,
    /// The block's align.
    align_bytes: u64,
    /// The block's page size; null in blocks of before minor version 4.
    page_size_bytes: Option<u32>,
    /// The block's `page_struct_size`: what its kernel reserved for each page, in bytes.
    page_struct_size_bytes: u16,
    /// Whether its checksum is right: a kernel takes it for no block where it is not.
    checksum_right: bool,
    /// `start_pad + dataoff`; null where the fields contradict each other.
    reservation_bytes: Option<u64>,
    /// What the same geometry gets at a struct page of 64 bytes.
    ideal_bytes: Option<u64>,
    /// reservation - ideal, never negative.
    excess_bytes: Option<u64>,
    /// Whether it is what a kernel of today makes of this geometry with the block's own `page_struct_size`.
    follows_formula: Option<bool>,
    /// How the block contradicts its namespace, in words.
    misfit: Option<String>,
}

impl From<&SuperblockReport<'_>> for SuperblockDocument {
    fn from(report: &SuperblockReport<'_>) -> Self {
        let block = &report.found.block;
        Self {
            offset_bytes: report.found.offset,
            mode: mode(block.kind),
            map: map(block),
            version: format!("{}.{}", block.version_major, block.version_minor),
            uuid: Uuid::from_bytes(block.uuid),
            namespace_uuid: Uuid::from_bytes(block.parent_uuid),
            dataoff_bytes: block.dataoff,
            start_pad_bytes: block.start_pad,
            end_trunc_bytes: block.end_trunc,
            npfns: block.npfns,
            align_bytes: block.align,
            page_size_bytes: block.page_size,
            page_struct_size_bytes: block.page_struct_size,
            checksum_right: report.found.checksum.is_right(),
            reservation_bytes: block.reservation(),
            ideal_bytes: report.ideal_bytes(),
            excess_bytes: report.excess_bytes(),
            follows_formula: report.follows_formula(),
            misfit: report.misfit.map(|misfit| misfit.to_string()),
        }
    }
}
