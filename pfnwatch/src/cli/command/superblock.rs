//! `pfnwatch superblock`: an info block, in words.

mod document;
mod report;

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use pfnwatch_common::superblock::{self, Checksum, InfoBlock};

use crate::cli::output::json::{Format, document};
use crate::model::exit::Exit;
use crate::model::units::parse_size;
use crate::os::paths::Paths;

pub(super) use self::document::SuperblockDocument;
pub(super) use self::report::SuperblockReport;

/// Options of `pfnwatch superblock`.
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
    let text = match args.format {
        Format::Table => report.text(),
        Format::Json => document(&SuperblockDocument::from(&report))?,
    };
    io::stdout().write_all(text.as_bytes()).context("cannot write the report")?;
    Ok(exit(&found, &report))
}

fn exit(found: &FoundBlock, report: &SuperblockReport) -> Exit {
    if !found.checksum.is_right() {
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

#[cfg(test)]
mod tests {
    use pfnwatch_common::superblock::SuperblockKind;

    use super::*;

    /// What a kernel with `n` writes into a namespace of 1 GiB with align 2 MiB.
    pub(super) fn block(dataoff: u64, n: u16) -> InfoBlock {
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
}
