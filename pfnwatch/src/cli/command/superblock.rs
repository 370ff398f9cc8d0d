//! `pfnwatch superblock`: an info block, in words.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use pfnwatch_common::reservation::REFERENCE_STRUCT_PAGE;
use pfnwatch_common::superblock::{self, Checksum, GeometryMismatch, SuperblockKind};
use pfnwatch_common::{Geometry, InfoBlock, KernelQuirks, Map, reservation};
use serde::Serialize;
use uuid::Uuid;

use crate::cli::output::json::Format;
use crate::cli::output::terminal;
use crate::model::exit::Exit;
use crate::model::units::{Bytes, parse_size};
use crate::os::paths::Paths;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch superblock block.bin              # 4 KiB, as ndctl read-infoblock writes them
  pfnwatch superblock /dev/pmem0             # a namespace in raw mode
  pfnwatch superblock pmem.img --format json # the backing file of an emulated NVDIMM

An enabled fsdax or devdax namespace hides its info block: it shows in raw mode only. `pfnwatch events restore-block` has the
last one that the agent saw.

Exit codes: 0 nothing to find; 1 no valid info block; 3 the reservation exceeds the ideal.")]
pub struct Args {
    /// A file that holds the block alone, a namespace's image, or its device
    #[arg(value_name = "FILE|DEVICE")]
    file: PathBuf,
    /// Where the block is in it; without this option at the start, else 4 KiB into it
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    offset: Option<u64>,
    /// How to write the report
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) struct FoundBlock {
    /// Where in the file, in bytes.
    pub(super) offset: u64,
    pub(super) block: InfoBlock,
    pub(super) checksum: Checksum,
    /// Size in bytes of the namespace, where the file is one.
    pub(super) namespace_bytes: Option<u64>,
}

pub fn run(args: &Args, _paths: &Paths) -> anyhow::Result<Exit> {
    let found = read(&args.file, args.offset).with_context(|| args.file.display().to_string())?;
    let report = SuperblockReport::of(&found);
    let text = args.format.render(&SuperblockDocument::from(&report), || report.text())?;
    terminal::print(&text).context("cannot write the report")?;
    Ok(exit(&found, &report))
}

fn exit(found: &FoundBlock, report: &SuperblockReport) -> Exit {
    if !found.checksum.is_right() && !found.block.is_virtual() {
        Exit::Error
    } else if report.excess_bytes().is_some_and(|excess| excess > 0) {
        Exit::Findings
    } else {
        Exit::Success
    }
}

/// Reads the block at `offset`, or at the first of the two usual places.
fn read(path: &Path, offset: Option<u64>) -> anyhow::Result<FoundBlock> {
    let mut file = File::open(path)?;
    let places = offset.map_or_else(|| vec![0, superblock::OFFSET], |offset| vec![offset]);
    for &offset in &places {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset))?;
        (&file).take(superblock::SIZE as u64).read_to_end(&mut bytes)?;
        if let (Ok(block), Ok(checksum)) = (InfoBlock::from_head(&bytes), Checksum::of(&bytes)) {
            let size = file.seek(SeekFrom::End(0))?;
            let namespace_bytes = (offset == superblock::OFFSET).then_some(size);
            return Ok(FoundBlock { offset, block, checksum, namespace_bytes });
        }
    }
    let places: Vec<_> = places.iter().map(u64::to_string).collect();
    bail!(
        "no info block (a whole one of 4096 bytes, with the signature of fsdax or devdax) at offset {}; an enabled \
         namespace hides its own: disable it, `echo 1 >force_raw` in its sysfs folder, enable it and try again",
        places.join(" or ")
    )
}

/// `memremap_compat_align()` of x86 and most others: blocks do not record it.
const COMPAT: u64 = 2 << 20;
/// The page size taken for blocks without one: they were written by kernels with pages of 4 KiB.
const PAGE_SIZE: u64 = 4096;

pub(super) struct SuperblockReport<'a> {
    found: &'a FoundBlock,
    geometry: Option<Geometry>,
    geometry_mismatch: Option<GeometryMismatch>,
}

impl<'a> SuperblockReport<'a> {
    pub(in crate::cli::command) fn of(found: &'a FoundBlock) -> Self {
        let geometry = found.block.geometry_when_made(PAGE_SIZE, COMPAT);
        let namespace = geometry.zip(found.namespace_bytes);
        let namespace = namespace.filter(|_| !found.block.is_virtual());
        let geometry_mismatch = namespace.and_then(|(geometry, size)| found.block.sanity(geometry.start, size).err());
        Self { found, geometry, geometry_mismatch }
    }

    fn with_struct_page(&self, size: u64) -> Option<u64> {
        // The geometry has the usable bytes left that the block has: a block without any is not refused here.
        let rule = KernelQuirks { allows_empty: true };
        reservation(self.geometry.as_ref()?, size, rule).ok().map(|reservation| reservation.dataoff)
    }

    fn ideal_bytes(&self) -> Option<u64> {
        if self.found.block.is_virtual() {
            return Some(0);
        }
        self.with_struct_page(REFERENCE_STRUCT_PAGE)
    }

    fn excess_bytes(&self) -> Option<u64> {
        Some(self.found.block.reservation()?.saturating_sub(self.ideal_bytes()?))
    }

    /// Whether a current kernel makes it from the block's own `page_struct_size`.
    fn follows_formula(&self) -> Option<bool> {
        if self.found.block.is_virtual() {
            return None;
        }
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
        let is_right = if block.is_virtual() {
            "of a block that is not on the media"
        } else if checksum.is_right() {
            "right"
        } else {
            "WRONG: a kernel takes this for no block"
        };
        line("checksum", format!("{:#018x}, {is_right}", checksum.stored));
        let or_unknown = |bytes: Option<u64>| {
            bytes.map_or_else(|| "unknown: the fields contradict each other".to_owned(), exact_bytes)
        };
        line("reservation", or_unknown(block.reservation()));
        line("ideal", or_unknown(self.ideal_bytes()));
        line("excess", or_unknown(self.excess_bytes()));
        if block.is_virtual() {
            line("note", VIRTUAL.to_owned());
        }
        if self.follows_formula() == Some(false) {
            line("note", OTHER_LAYOUT.to_owned());
        }
        if let Some(geometry_mismatch) = self.geometry_mismatch {
            line("note", geometry_mismatch.to_string());
        }
        text
    }
}

const VIRTUAL: &str = "replaces a missing block: the kernel maps the namespace whole, with its memmap in DRAM";
const OTHER_LAYOUT: &str = "not what a kernel of today makes of this geometry: an older kernel's, or made by hand";

/// Exact and rounded: `35651584 (34 MiB)`.
fn exact_bytes(bytes: u64) -> String {
    if bytes < 1024 { bytes.to_string() } else { format!("{bytes} ({})", Bytes(bytes)) }
}

const fn mode(kind: SuperblockKind) -> &'static str {
    match kind {
        SuperblockKind::Pfn => "fsdax",
        SuperblockKind::Dax => "devdax",
    }
}

fn map(block: &InfoBlock) -> Option<&'static str> {
    block.map().map(|map| match map {
        Map::Dev => "dev",
        Map::Mem => "mem",
    })
}

/// An info block, field by field, with what the formula says to it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SuperblockDocument"))]
pub(super) struct SuperblockDocument {
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
    /// Whether it is what a kernel of today makes of this geometry with the block's own `page_struct_size`; null for a block that
    /// replaces a missing one.
    follows_formula: Option<bool>,
    /// How the block contradicts its namespace, in words.
    geometry_mismatch: Option<String>,
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
            geometry_mismatch: report.geometry_mismatch.map(|geometry_mismatch| geometry_mismatch.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use serde_json::json;

    /// What a kernel with `n` writes into a namespace of 1 GiB with align 2 MiB.
    fn block(dataoff: u64, n: u16) -> InfoBlock {
        InfoBlock { kind: SuperblockKind::Dax, parent_uuid: [0; 16], ..InfoBlock::sample(dataoff, n) }
    }

    fn found(bytes: &[u8], offset: Option<u64>) -> anyhow::Result<FoundBlock> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        read(file.path(), offset)
    }

    fn exit_of(bytes: &[u8]) -> Exit {
        let found = found(bytes, None).unwrap();
        exit(&found, &SuperblockReport::of(&found))
    }

    #[test]
    fn a_block_is_found_alone_and_in_a_namespace() {
        let block = block(18_874_368, 64);
        let alone = found(&block.encode(), None).unwrap();
        assert_eq!((alone.offset, alone.block, alone.namespace_bytes), (0, block, None));
        let mut namespace = vec![0; 1 << 14];
        namespace[4096..8192].copy_from_slice(&block.encode());
        let inside = found(&namespace, None).unwrap();
        assert_eq!((inside.offset, inside.block, inside.namespace_bytes), (4096, block, Some(1 << 14)));
        assert_eq!(found(&namespace, Some(4096)).unwrap().block, block);
        assert!(found(&namespace, Some(8192)).is_err());
    }

    #[test]
    fn what_is_no_block_is_said_so() {
        for bytes in [b"".as_slice(), b"NVDIMM_PFN_INFO\0", &[0; 9000], &block(18_874_368, 64).encode()[..4095]] {
            let error = found(bytes, None).err().unwrap().to_string();
            assert!(error.starts_with("no info block"), "{error}");
        }
    }

    #[test]
    fn the_exit_code_tells() {
        assert_eq!(exit_of(&block(18_874_368, 64).encode()), Exit::Success);
        assert_eq!(exit_of(&block(35_651_584, 128).encode()), Exit::Findings);
        let mut damaged = block(18_874_368, 64).encode();
        damaged[100] = 1;
        assert_eq!(exit_of(&damaged), Exit::Error);
    }

    fn checked(block: InfoBlock) -> FoundBlock {
        let checksum = Checksum::of(&block.encode()).unwrap();
        FoundBlock { offset: 4096, block, checksum, namespace_bytes: Some(1 << 30) }
    }

    #[test]
    fn ideal_and_excess_are_exact() {
        let found = checked(block(35_651_584, 128));
        let json = serde_json::to_value(SuperblockDocument::from(&SuperblockReport::of(&found))).unwrap();
        assert_eq!((&json["ideal_bytes"], &json["excess_bytes"]), (&json!(18_874_368), &json!(16_777_216)));
        assert_eq!((&json["follows_formula"], &json["geometry_mismatch"]), (&json!(true), &json!(null)));
        assert!(SuperblockReport::of(&found).text().contains("excess            16777216 (16 MiB)"));
    }

    #[test]
    fn another_layout_is_told() {
        let found = checked(block(35_651_584, 64));
        assert!(SuperblockReport::of(&found).text().contains("not what a kernel of today makes"));
    }

    #[test]
    fn a_block_that_stands_for_none_reserves_nothing() {
        let block = InfoBlock { npfns: 0, mode: 1, align: 1 << 30, ..block(0, 64) };
        let mut bytes = block.encode();
        // The kernel gives it no checksum.
        bytes[4088..].fill(0);
        let found = found(&bytes, None).unwrap();
        let report = SuperblockReport::of(&found);
        let json = serde_json::to_value(SuperblockDocument::from(&report)).unwrap();
        for key in ["reservation_bytes", "ideal_bytes", "excess_bytes"] {
            assert_eq!(json[key], json!(0), "{key}");
        }
        assert_eq!((&json["follows_formula"], &json["geometry_mismatch"]), (&json!(null), &json!(null)));
        assert_eq!(exit(&found, &report), Exit::Success);
        assert!(report.text().contains("replaces a missing block"), "{}", report.text());
    }

    #[test]
    fn contradictions_do_not_end_in_numbers() {
        let found = checked(InfoBlock { npfns: u64::MAX, mode: 7, ..block(35_651_584, 64) });
        let report = SuperblockReport::of(&found);
        assert_eq!(report.excess_bytes(), None);
        assert!(report.text().contains("7, which no kernel knows"));
    }
}
