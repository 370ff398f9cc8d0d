//! The report of `pfnwatch superblock`: for people, and for programs.

use std::fmt::Write as _;

use pfnwatch_common::reservation::REFERENCE_STRUCT_PAGE;
use pfnwatch_common::superblock::{GeometryMismatch, SuperblockKind};
use pfnwatch_common::{Geometry, InfoBlock, KernelQuirks, Map, reservation};
use uuid::Uuid;

use super::FoundBlock;
use crate::model::units::Bytes;

/// `memremap_compat_align()` of x86 and most others: blocks do not record it.
const COMPAT: u64 = 2 << 20;
/// The page size taken for blocks without one: they were written by kernels with pages of 4 KiB.
const PAGE_SIZE: u64 = 4096;

pub(in crate::cli::command) struct SuperblockReport<'a> {
    pub(super) found: &'a FoundBlock,
    geometry: Option<Geometry>,
    pub(super) misfit: Option<GeometryMismatch>,
}

impl<'a> SuperblockReport<'a> {
    pub(in crate::cli::command) fn of(found: &'a FoundBlock) -> Self {
        let geometry = found.block.geometry_when_made(PAGE_SIZE, COMPAT);
        let namespace = geometry.zip(found.namespace_bytes);
        let misfit = namespace.and_then(|(geometry, size)| found.block.sanity(geometry.start, size).err());
        Self { found, geometry, misfit }
    }

    fn with_struct_page(&self, size: u64) -> Option<u64> {
        // The geometry has the usable bytes left that the block has: a block without any is not refused here.
        let rule = KernelQuirks { allows_empty: true };
        reservation(self.geometry.as_ref()?, size, rule).ok().map(|reservation| reservation.dataoff)
    }

    pub(super) fn ideal_bytes(&self) -> Option<u64> {
        self.with_struct_page(REFERENCE_STRUCT_PAGE)
    }

    pub(super) fn excess_bytes(&self) -> Option<u64> {
        Some(self.found.block.reservation()?.saturating_sub(self.ideal_bytes()?))
    }

    /// Whether a current kernel makes it from the block's own `page_struct_size`.
    pub(super) fn follows_formula(&self) -> Option<bool> {
        let expected = self.with_struct_page(self.found.block.page_struct_size.into())?;
        Some(self.found.block.reservation()? == expected)
    }

    pub(in crate::cli::command) fn text(&self) -> String {
        let (block, checksum) = (&self.found.block, self.found.checksum);
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name:<18}{value}");
        };
        line("offset", self.found.offset.to_string());
        line("mode", mode(block.kind).to_owned());
        line("map", map(block).map_or_else(|| format!("{}, which no kernel knows", block.mode), str::to_owned));
        line("version", format!("{}.{}", block.version_major, block.version_minor));
        line("block uuid", Uuid::from_bytes(block.uuid).to_string());
        line("namespace uuid", Uuid::from_bytes(block.parent_uuid).to_string());
        line("dataoff", exact_bytes(block.dataoff));
        line("start_pad", exact_bytes(block.start_pad.into()));
        line("end_trunc", exact_bytes(block.end_trunc.into()));
        line("npfns", block.npfns.to_string());
        line("align", exact_bytes(block.align));
        line(
            "page size",
            block.page_size.map_or_else(|| "of the kernel that reads it".to_owned(), |size| exact_bytes(size.into())),
        );
        line("page_struct_size", block.page_struct_size.to_string());
        let is_right = if checksum.is_right() { "right" } else { "WRONG: a kernel takes this for no block" };
        line("checksum", format!("{:#018x}, {is_right}", checksum.stored));
        let or_unknown = |bytes: Option<u64>| {
            bytes.map_or_else(|| "unknown: the fields contradict each other".to_owned(), exact_bytes)
        };
        line("reservation", or_unknown(block.reservation()));
        line("ideal", or_unknown(self.ideal_bytes()));
        line("excess", or_unknown(self.excess_bytes()));
        if self.follows_formula() == Some(false) {
            line("note", OTHER_LAYOUT.to_owned());
        }
        if let Some(misfit) = self.misfit {
            line("note", misfit.to_string());
        }
        text
    }
}

const OTHER_LAYOUT: &str = "not what a kernel of today makes of this geometry: an older kernel's, or made by hand";

/// Exact and rounded: `35651584 (34 MiB)`.
fn exact_bytes(bytes: u64) -> String {
    if bytes < 1024 { bytes.to_string() } else { format!("{bytes} ({})", Bytes(bytes)) }
}

pub(super) const fn mode(kind: SuperblockKind) -> &'static str {
    match kind {
        SuperblockKind::Pfn => "fsdax",
        SuperblockKind::Dax => "devdax",
    }
}

pub(super) fn map(block: &InfoBlock) -> Option<&'static str> {
    block.map().map(|map| match map {
        Map::Dev => "dev",
        Map::Mem => "mem",
    })
}

#[cfg(test)]
mod tests {
    use pfnwatch_common::superblock::Checksum;

    use serde_json::json;

    use super::super::document::SuperblockDocument;
    use super::super::tests::block;
    use super::*;

    fn found(block: InfoBlock) -> FoundBlock {
        let checksum = Checksum::of(&block.encode()).unwrap();
        FoundBlock { offset: 4096, block, checksum, namespace_bytes: Some(1 << 30) }
    }

    #[test]
    fn ideal_and_excess_are_exact() {
        let found = found(block(35_651_584, 128));
        let json = serde_json::to_value(SuperblockDocument::from(&SuperblockReport::of(&found))).unwrap();
        assert_eq!((&json["ideal_bytes"], &json["excess_bytes"]), (&json!(18_874_368), &json!(16_777_216)));
        assert_eq!((&json["follows_formula"], &json["misfit"]), (&json!(true), &json!(null)));
        assert!(SuperblockReport::of(&found).text().contains("excess            16777216 (16 MiB)"));
    }

    #[test]
    fn another_layout_is_told() {
        let found = found(block(35_651_584, 64));
        assert!(SuperblockReport::of(&found).text().contains("not what a kernel of today makes"));
    }

    #[test]
    fn contradictions_do_not_end_in_numbers() {
        let found = found(InfoBlock { npfns: u64::MAX, mode: 7, ..block(35_651_584, 64) });
        let report = SuperblockReport::of(&found);
        assert_eq!(report.excess_bytes(), None);
        assert!(report.text().contains("7, which no kernel knows"));
    }
}
