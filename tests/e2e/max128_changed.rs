//! Blocks that were changed, or are of older kernels, have a cause of their own, also on a kernel with the regression.

use std::os::unix::fs::FileExt;

use anyhow::{Context as _, Result};
use guest::agent::Agent;
use guest::creation::{self, Mode, NamespaceSpec};
use guest::pfnwatch::{ensure_contains, row, scan};
use guest::{GIB, MIB, infoblock, namespace, regions, sysfs};
use pfnwatch_common::InfoBlock;
use pfnwatch_common::superblock::{OFFSET, SIZE};
use serde_json::json;

use crate::set_up_events::set_up_of_existing;

fn made(region: &str, size_bytes: u64) -> Result<String> {
    // Sizes of whole MiB are wanted, not of the usual 16.
    sysfs::write(region, "align", &(2 * MIB).to_string())?;
    let wanted = NamespaceSpec::new(region, Mode::Fsdax, size_bytes);
    Ok(creation::create(&wanted)?.namespace)
}

/// Changes a namespace's block on the media, with a right checksum, and enables the namespace with it.
fn rewrite(namespace: &str, change: impl FnOnce(&mut InfoBlock)) -> Result<()> {
    infoblock::raw(namespace, |pmem| {
        let mut bytes = vec![0; SIZE];
        pmem.read_exact_at(&mut bytes, OFFSET)?;
        let mut block = InfoBlock::from_block(&bytes)?;
        change(&mut block);
        pmem.write_all_at(&block.encode(), OFFSET)?;
        pmem.sync_all().context("the block does not reach the media")
    })?;
    namespace::enable(namespace).map(drop)
}

/// Scan and agent agree: the same cause, and no class.
fn reports_verdict(agent: &mut Agent, namespace: &str, cause: &str, reservation: u64, excess: u64) -> Result<()> {
    let expected = json!({
        "cause": cause, "class": null, "reservation_bytes": reservation, "excess_bytes": excess,
    });
    ensure_contains(&set_up_of_existing(agent, namespace)?, &expected)?;
    // More than one align is oversize, whatever the cause; and so is the host where all of it is more than a thousandth.
    ensure_contains(row(&scan(if excess > 0 { 3 } else { 0 })?, namespace)?, &expected)
}

#[test]
fn resized_while_unclaimed() -> Result<()> {
    let regions = regions::fresh()?;
    let namespace = made(&regions.first, GIB)?;
    namespace::disable(&namespace)?;
    sysfs::write(&namespace, "size", &(GIB + 512 * MIB).to_string())?;
    let mut agent = Agent::start(&[])?;
    namespace::enable(&namespace)?;
    // 34 MiB for 1 GiB, where 64 bytes a page of 1.5 GiB are 26 MiB.
    reports_verdict(&mut agent, &namespace, "resized", 34 * MIB, 8 * MIB)
}

#[test]
fn minor_version_1() -> Result<()> {
    let regions = regions::fresh()?;
    let namespace = made(&regions.first, 64 * MIB)?;
    let mut agent = Agent::start(&[])?;
    // Such a block has no align: the kernel takes the power of two in dataoff, and knows 4 KiB, 2 MiB and 1 GiB alone.
    rewrite(&namespace, |block| {
        block.version_minor = 1;
        block.dataoff = 2 * MIB;
        block.npfns = 62 * MIB / 4096;
        block.page_size = None;
        block.page_struct_size = 0;
    })?;
    reports_verdict(&mut agent, &namespace, "older_kernel", 2 * MIB, 0)
}

#[test]
fn older_layout_that_is_as_large_as_the_regressions() -> Result<()> {
    let regions = regions::fresh()?;
    // 64 bytes a page and 8 KiB fit 2 MiB, and with the older kernels' 128 KiB for labels they do not: 4 MiB are just
    // what 128 bytes a page give.
    let namespace = made(&regions.first, 126 * MIB)?;
    let mut agent = Agent::start(&[])?;
    rewrite(&namespace, |block| {
        assert_eq!(block.dataoff, 4 * MIB);
        block.version_minor = 3;
        block.page_size = None;
        block.page_struct_size = 0;
    })?;
    reports_verdict(&mut agent, &namespace, "older_kernel", 4 * MIB, 2 * MIB)
}

#[test]
fn older_layout_with_a_padded_start() -> Result<()> {
    let regions = regions::fresh()?;
    let namespace = made(&regions.first, GIB)?;
    let mut agent = Agent::start(&[])?;
    rewrite(&namespace, |block| {
        block.version_minor = 2;
        block.page_size = None;
        block.page_struct_size = 0;
        block.start_pad = 4 << 20;
        block.dataoff = 18 * MIB;
        block.npfns = (1024 - 22) * MIB / 4096;
    })?;
    reports_verdict(&mut agent, &namespace, "older_kernel", 22 * MIB, 4 * MIB)
}
