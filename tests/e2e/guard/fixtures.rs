//! What the guard's tests have in common: namespaces that are oversize to a strict policy, and what a denial leaves.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context as _, Result, ensure};
use guest::creation::{self, Map, Mode, NamespaceSpec, PreparedNamespace};
use guest::dmesg::Mark;
use guest::{MIB, infoblock, regions, sysfs};
use pfnwatch_common::InfoBlock;
use pfnwatch_common::superblock::{OFFSET, SIZE};

pub(crate) const MODES: [Mode; 2] = [Mode::Fsdax, Mode::Devdax];

/// The smallest common namespace that a strict policy finds oversize at align 2M: 10 MiB reserved instead of 6.
pub(crate) fn wanted(region: &str, mode: Mode, map: Map) -> NamespaceSpec {
    NamespaceSpec { region: region.to_owned(), size_bytes: 512 * MIB, mode, map, align_bytes: 2 * MIB }
}

/// The smallest of all, at align 4K: 8 MiB instead of 4, which is also more than the 2 MiB that the kernel rounds to.
pub(crate) fn small(region: &str, mode: Mode) -> NamespaceSpec {
    NamespaceSpec { region: region.to_owned(), size_bytes: 384 * MIB, mode, map: Map::Dev, align_bytes: 4096 }
}

/// Claims an existing namespace again, through the region's seed, with a new block uuid.
pub(crate) fn again(wanted: &NamespaceSpec, namespace: &str) -> Result<PreparedNamespace> {
    creation::claim(wanted, namespace, &creation::new_uuid()?)
}

/// A namespace whose first MiB is zeroed, with its holder set up and not bound.
pub(crate) fn prepare_blank(wanted: &NamespaceSpec) -> Result<PreparedNamespace> {
    let namespace = creation::prepare_empty(wanted)?;
    infoblock::raw(&namespace, blank)?;
    again(wanted, &namespace)
}

/// Requires that the first MiB of a namespace is zero. The namespace is left disabled.
pub(crate) fn nothing_is_written(namespace: &str) -> Result<()> {
    infoblock::raw(namespace, |pmem| {
        let mut start = vec![0xff; 1 << 20];
        pmem.read_exact_at(&mut start, 0).context("cannot read the namespace")?;
        let written = start.iter().position(|byte| *byte != 0);
        ensure!(written.is_none(), "byte {written:?} of {namespace} is not zero");
        Ok(())
    })
}

/// Zeroes the first MiB of a raw namespace: it then has no info block.
pub(crate) fn blank(pmem: &File) -> Result<()> {
    pmem.write_all_at(&vec![0; 1 << 20], 0).and_then(|()| pmem.sync_all()).context("cannot write the namespace")
}

/// Changes the info block on a namespace, which is left disabled.
pub(crate) fn rewrite_block(namespace: &str, change: impl FnOnce(&mut InfoBlock)) -> Result<()> {
    infoblock::raw(namespace, |pmem| {
        let mut bytes = vec![0; SIZE];
        pmem.read_exact_at(&mut bytes, OFFSET)?;
        let mut block = InfoBlock::from_block(&bytes)?;
        change(&mut block);
        pmem.write_all_at(&block.encode(), OFFSET)?;
        pmem.sync_all().context("the block does not reach the media")
    })
}

/// Kernel warnings since, except those that belong to a denial or to any namespace under emulation.
pub(crate) fn no_other_warning(since: Mark) -> Result<()> {
    const KNOWN: [&str; 2] = ["driver_sysfs_add", "unable to guarantee persistence of writes"];
    let warnings = since.since()?.into_iter().filter(|message| message.level <= 4);
    let others: Vec<_> = warnings.filter(|message| !KNOWN.iter().any(|known| message.text.contains(known))).collect();
    ensure!(others.is_empty(), "the kernel warns: {others:#?}");
    Ok(())
}

pub(crate) fn room(region: &str) -> Result<u64> {
    sysfs::number(region, "available_size")
}

pub(crate) fn count(region: &str) -> Result<usize> {
    regions::namespaces(region).map(|list| list.len())
}
