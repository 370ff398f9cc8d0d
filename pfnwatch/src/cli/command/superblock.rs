//! `pfnwatch superblock`: an info block, in words.

mod reading;
mod taker;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use pfnwatch_common::superblock::{self, Checksum, GeometryMismatch, SuperblockKind};
use pfnwatch_common::{InfoBlock, Map};
use serde::Serialize;
use uuid::Uuid;

use self::reading::{Reading, agreed, differing, readings};
use self::taker::{BlockAnswer, Taker};
use crate::analysis::assess::reserved_with;
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
  pfnwatch superblock block.bin --kernel linux-image-6.12.94-amd64.deb   # would that kernel take it?

An enabled fsdax or devdax namespace hides its info block: it shows in raw mode only. `pfnwatch events restore-block` has the
last one that the agent saw.

Exit codes: 0 nothing to find; 1 no valid info block; 3 the reservation exceeds the ideal, or the kernel would not take
the block.")]
pub struct Args {
    /// A file that holds the block alone, a namespace's image, or its device
    #[arg(value_name = "FILE|DEVICE")]
    file: PathBuf,
    /// Where the block is in it; without this option at the start, else 4 KiB into it
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    offset: Option<u64>,
    /// The kernel that would take the block: its packages or files, as for `pfnwatch kernel`; the running one unless given
    #[arg(long = "kernel", value_name = "PACKAGE")]
    kernels: Vec<PathBuf>,
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

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    let found = read(&args.file, args.offset).with_context(|| args.file.display().to_string())?;
    let taker =
        if args.kernels.is_empty() { Taker::running(paths, &found.block) } else { Taker::of_files(&args.kernels) };
    let report = SuperblockReport::of(&found).asked(&taker?);
    let text = args.format.render(&SuperblockDocument::from(&report), || report.text())?;
    terminal::print(&text).context("cannot write the report")?;
    Ok(exit(&found, &report))
}

fn exit(found: &FoundBlock, report: &SuperblockReport) -> Exit {
    let is_refused = report.answer.as_ref().is_some_and(|answer| !answer.takes);
    if !found.checksum.is_right() && !found.block.is_virtual() {
        Exit::Error
    } else if is_refused || report.excess_bytes().is_some_and(|excess| excess > 0) {
        Exit::Findings
    } else {
        Exit::Success
    }
}

/// Reads the block at `offset`, or at the first of the two usual places.
fn read(path: &Path, offset: Option<u64>) -> anyhow::Result<FoundBlock> {
    let mut file = File::open(path)?;
    let is_device = file.metadata()?.file_type().is_block_device();
    let places = offset.map_or_else(|| vec![0, superblock::OFFSET], |offset| vec![offset]);
    for &offset in &places {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset))?;
        (&file).take(superblock::SIZE as u64).read_to_end(&mut bytes)?;
        if let (Ok(block), Ok(checksum)) = (InfoBlock::from_head(&bytes), Checksum::of(&bytes)) {
            let size = file.seek(SeekFrom::End(0))?;
            let is_namespace = offset == superblock::OFFSET && (is_device || is_whole(&block, size));
            return Ok(FoundBlock { offset, block, checksum, namespace_bytes: is_namespace.then_some(size) });
        }
    }
    let places: Vec<_> = places.iter().map(u64::to_string).collect();
    bail!(
        "no info block (a whole one of 4096 bytes, with the signature of fsdax or devdax) at offset {}; an enabled \
         namespace hides its own: disable it, `echo 1 >force_raw` in its sysfs folder, enable it and try again",
        places.join(" or ")
    )
}

/// Whether a file of this size may be a namespace's image, and not only its beginning (8 KiB, as `ndctl read-infoblock` writes).
fn is_whole(block: &InfoBlock, size: u64) -> bool {
    let described = block.geometry_when_made(4096, 1).map(|made| made.size);
    described.or_else(|| block.reservation()).is_some_and(|least| size > superblock::OFFSET * 2 && size >= least)
}

pub(super) struct SuperblockReport<'a> {
    found: &'a FoundBlock,
    readings: Vec<Reading>,
    geometry_mismatch: Option<GeometryMismatch>,
    answer: Option<BlockAnswer>,
}

impl<'a> SuperblockReport<'a> {
    pub(in crate::cli::command) fn of(found: &'a FoundBlock) -> Self {
        let readings = readings(&found.block, found.namespace_bytes);
        let start = readings.first().map(|reading| reading.geometry.start);
        let mismatch = |(start, size)| found.block.sanity(start, size).err();
        let namespace = start.zip(found.namespace_bytes).filter(|_| !found.block.is_virtual());
        let geometry_mismatch = namespace.and_then(mismatch);
        Self { found, readings, geometry_mismatch, answer: None }
    }

    fn asked(self, taker: &Taker) -> Self {
        // A kernel takes a block with a wrong checksum for none.
        let answer = self.found.checksum.is_right().then(|| taker.answer(self.found));
        Self { answer, ..self }
    }

    fn ideal_bytes(&self) -> Option<u64> {
        if self.found.block.is_virtual() {
            return Some(0);
        }
        agreed(&self.readings, |reading| reading.ideal)
    }

    fn excess_bytes(&self) -> Option<u64> {
        if self.found.block.is_virtual() {
            return Some(0);
        }
        agreed(&self.readings, |reading| reading.excess)
    }

    /// Whether a current kernel makes it from the block's own `page_struct_size`.
    fn follows_formula(&self) -> Option<bool> {
        let block = &self.found.block;
        if block.is_virtual() {
            return None;
        }
        if self.readings.len() > 1 && self.excess_bytes().is_none() {
            return None;
        }
        // The geometry has the usable bytes left that the block has: a block without any is not refused here.
        let expected = reserved_with(&self.readings.first()?.geometry, block.page_struct_size.into()).ok()?;
        Some(block.reservation()? == expected)
    }

    fn notes(&self) -> Vec<String> {
        let block = &self.found.block;
        if block.is_virtual() {
            return vec![VIRTUAL.to_owned()];
        }
        let mut notes: Vec<_> =
            differing(&self.readings).into_iter().map(|reading| format!("not known which: {reading}")).collect();
        if !block.has_npfns() {
            notes.push("written by a tool: npfns not set".to_owned());
        } else if block.is_hand_made() {
            notes.push(format!("made by hand with a start_pad of {}", Bytes(block.start_pad.into())));
        } else if self.follows_formula() == Some(false) {
            notes.push(OTHER_LAYOUT.to_owned());
        }
        notes.extend(self.geometry_mismatch.map(|mismatch| mismatch.to_string()));
        notes
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
            "WRONG: a kernel does not recognise this as a block"
        };
        line("checksum", format!("{:#018x}, {is_right}", checksum.stored));
        let or_unknown = |bytes: Option<u64>| {
            let why = if self.readings.is_empty() { "the fields contradict each other" } else { "see the notes" };
            bytes.map_or_else(|| format!("unknown: {why}"), exact_bytes)
        };
        line("reservation", or_unknown(block.reservation()));
        line("ideal", or_unknown(self.ideal_bytes()));
        line("excess", or_unknown(self.excess_bytes()));
        for note in self.notes() {
            line("note", note);
        }
        if let Some(answer) = &self.answer {
            line("kernel", answer.text());
        }
        text
    }
}

const VIRTUAL: &str = "replaces a missing block: the kernel maps the namespace whole, with its memmap in DRAM";
const OTHER_LAYOUT: &str = "not what a current kernel writes for this geometry: an older kernel's, or made by hand";

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

/// An info block, field by field, with the result of the formula.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SuperblockDocument"))]
pub(super) struct SuperblockDocument<'a> {
    /// Offset of the block in its file, in bytes.
    offset_bytes: u64,
    /// `fsdax` or `devdax`.
    mode: &'static str,
    /// Where the memmap is: `dev` or `mem`; null for a mode that no kernel knows.
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
    /// The block's `page_struct_size`: the bytes that its kernel reserved for each page.
    page_struct_size_bytes: u16,
    /// Whether its checksum is right: else a kernel does not recognise it as a block.
    checksum_right: bool,
    /// `start_pad + dataoff`; null where the fields contradict each other.
    reservation_bytes: Option<u64>,
    /// The reservation of the same geometry at a struct page of 64 bytes.
    ideal_bytes: Option<u64>,
    /// reservation - ideal, never negative.
    excess_bytes: Option<u64>,
    /// Whether it is what a current kernel writes for this geometry with the block's own `page_struct_size`; null for
    /// a block that replaces a missing one.
    follows_formula: Option<bool>,
    /// How the block contradicts its namespace, in words.
    geometry_mismatch: Option<String>,
    /// Other remarks: the readings, if the block does not show which is right; that no kernel wrote it.
    notes: Vec<String>,
    /// Whether a kernel would accept it; null if its checksum is wrong, or if no kernel was given.
    kernel: Option<&'a BlockAnswer>,
}

impl<'a> From<&'a SuperblockReport<'_>> for SuperblockDocument<'a> {
    fn from(report: &'a SuperblockReport<'_>) -> Self {
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
            notes: report.notes(),
            kernel: report.answer.as_ref(),
        }
    }
}
