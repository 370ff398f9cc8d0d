//! The DRAM that `scan` reports for a memmap is what the kernel takes: `nr_memmap_pages` to the page, where that counter
//! is right, and else what is free before and after.

use std::fs;

use anyhow::{Context, Result, ensure};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::{GIB, KIB, MIB, free_memory, namespace, page_bytes, pfnwatch, regions};
use serde_json::Value;

const PAGE: u64 = 4 * KIB;
const STRUCT_PAGE: u64 = 64;
/// What else may come and go in the guest meanwhile, page tables among it: 36 KiB were the most in 16 readings.
const TOLERANCE: u64 = MIB;

/// The kernel's numbers in bytes, when nothing moves any more.
#[derive(Debug)]
struct Settled {
    /// The memmaps, if the kernel counts them, and right: those of 6.17 and 6.18 do not for deduplicated ones.
    memmap: Option<u64>,
    /// Free pages, with those in the CPUs' lists.
    free: u64,
}

impl Settled {
    fn read() -> Result<Self> {
        let (free, page_bytes) = (free_memory::stable_bytes()?, page_bytes()?);
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let memmap = free_memory::value("/proc/vmstat", "nr_memmap_pages").ok().filter(|_| release.starts_with("7.3."));
        Ok(Self { memmap: memmap.map(|pages| pages * page_bytes), free })
    }
}

fn number(json: &Value, key: &str) -> Result<u64> {
    json.get(key).and_then(Value::as_u64).with_context(|| format!("no {key} in {json:#}"))
}

/// Enables a namespace between two readings, and compares these with its row of the scan. Returns the bytes of DRAM.
fn compare(namespace: &str, enable: impl FnOnce() -> Result<()>) -> Result<u64> {
    let before = Settled::read()?;
    enable()?;
    let after = Settled::read()?;
    let scan = pfnwatch::scan(0)?;
    let row = pfnwatch::row(&scan, namespace)?;
    let dram = number(row, "memmap_dram_bytes")?;
    if let (Some(before), Some(after)) = (before.memmap, after.memmap) {
        // The counter has the memmap on the media, too.
        let expected = match row.get("map").and_then(Value::as_str) {
            Some("dev") => {
                (number(row, "reservation_bytes")? + number(row, "usable_bytes")?) / page_bytes()? * STRUCT_PAGE
            }
            _ => dram,
        };
        ensure!(after.checked_sub(before) == Some(expected), "{expected} is expected, not {after} - {before}: {row:#}");
    }
    let taken = before.free.saturating_sub(after.free);
    ensure!(taken.abs_diff(dram) <= TOLERANCE, "{dram} is reported, and {taken} less are free: {row:#}");
    eprintln!("{namespace}: {dram} bytes, {before:?} {after:?}");
    Ok(dram)
}

pub(crate) fn created(wanted: &NamespaceSpec) -> Result<u64> {
    let prepared = creation::prepare(wanted)?;
    let dram = compare(&prepared.namespace, || Ok(prepared.bind()?)).with_context(|| format!("{wanted:?}"))?;
    namespace::disable(&prepared.namespace)?;
    let scan = pfnwatch::scan(0)?;
    let disabled = pfnwatch::row(&scan, &prepared.namespace)?;
    ensure!(number(disabled, "memmap_dram_bytes")? == 0, "disabled, it takes none: {disabled:#}");
    namespace::destroy(&prepared.namespace)?;
    Ok(dram)
}

#[test]
fn memmaps_of_1_gib_are_what_the_kernel_counts() -> Result<()> {
    let regions = regions::fresh()?;
    let spec =
        |mode, map, align_bytes| NamespaceSpec { map, align_bytes, ..NamespaceSpec::new(&regions.first, mode, GIB) };
    for (wanted, dram) in [
        (spec(Mode::Fsdax, Map::Mem, 2 * MIB), 16 * MIB),
        (spec(Mode::Devdax, Map::Mem, PAGE), 16 * MIB),
        (spec(Mode::Devdax, Map::Mem, 2 * MIB), 4 * MIB),
        // Whole sections: all of it is on the media.
        (spec(Mode::Fsdax, Map::Dev, 2 * MIB), 0),
    ] {
        let found = created(&wanted)?;
        ensure!(found == dram, "{dram} is right, not {found}: {wanted:?}");
    }
    Ok(())
}

/// The second region begins at an odd multiple of 2 MiB: the first and the last section are mapped in part.
#[test]
fn parts_of_sections_take_dram_with_map_dev() -> Result<()> {
    let regions = regions::fresh()?;
    for map in [Map::Dev, Map::Mem] {
        let wanted = NamespaceSpec { map, ..NamespaceSpec::new(&regions.second, Mode::Fsdax, 2 * GIB) };
        let dram = created(&wanted)?;
        let expected = if map == Map::Dev { 2 * MIB } else { 32 * MIB };
        ensure!(dram == expected, "{expected} is right, not {dram}: {wanted:?}");
    }
    Ok(())
}

#[test]
fn e820_range_that_is_mapped_whole_has_its_memmap_in_dram() -> Result<()> {
    let regions = regions::fresh()?;
    let namespaces = regions::namespaces(&regions.legacy)?;
    let whole = namespaces.first().context("the e820 range has no namespace")?;
    namespace::disable(whole)?;
    let dram = compare(whole, || namespace::enable(whole).map(drop))?;
    ensure!(dram == 8 * MIB, "{dram}");
    Ok(())
}
