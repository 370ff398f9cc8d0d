//! A sample of the tests on arm64, with whatever size the kernel's pages have: what is reserved, what the guard refuses, what `scan`
//! reports, what a memmap takes of DRAM.

use anyhow::{Context, Result, ensure};
use guest::agent::Agent;
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::guard::{self, Guard};
use guest::policy::{GuardMode, Policy};
use guest::{GIB, KIB, MIB, facts, namespace, page_bytes, pfnwatch, regions, sysfs};
use serde_json::json;

use crate::guard::fixtures::{MODES, nothing_is_written, prepare_blank};
use crate::{dram, geometry, prediction};

const MAPS: [Map; 2] = [Map::Dev, Map::Mem];

/// Round sizes, and sizes that only pages divide, so that the end is cut. With map=dev and pages of 4 KiB the memmap of each section (128 MiB) takes 2 MiB at a
/// multiple of 2 MiB: 6.12 fails with ENOMEM where more than one section does not leave room for that (300 MiB - 4 KiB at align 4 KiB, seen).
fn sizes(align: u64, page: u64) -> Vec<u64> {
    match align {
        GIB.. => vec![2 * GIB, 2 * GIB + 20 * MIB + 3 * page, 3 * GIB - page],
        _ => vec![64 * MIB, 100 * MIB - page, 120 * MIB + 3 * page, 512 * MIB],
    }
}

/// Of two aligns at least, the page's among them.
fn aligns(region: &str, mode: Mode) -> Result<Vec<u64>> {
    let seed = if mode == Mode::Fsdax { "pfn_seed" } else { "dax_seed" };
    let aligns = sysfs::choices(&sysfs::text(region, seed)?, "supported_alignments")?;
    // With pages of 16 KiB the largest is 64 GiB, more than there is.
    let aligns: Vec<u64> = aligns.into_iter().filter(|align| *align <= GIB).collect();
    ensure!(aligns.len() >= 2 && aligns.first() == Some(&page_bytes()?), "this kernel offers {aligns:?}");
    Ok(aligns)
}

fn spec(region: &str, mode: Mode, map: Map, align_bytes: u64, size_bytes: u64) -> NamespaceSpec {
    NamespaceSpec { map, align_bytes, ..NamespaceSpec::new(region, mode, size_bytes) }
}

/// More than a strict policy allows, whatever size pages have: 64 bytes for each instead of 32.
fn oversize(region: &str, mode: Mode) -> Result<NamespaceSpec> {
    Ok(spec(region, mode, Map::Dev, page_bytes()?, 2 * GIB))
}

#[test]
fn formula_event_block_and_sysfs_agree() -> Result<()> {
    let (region, page) = (regions::fresh_one()?, page_bytes()?);
    sysfs::write(&region, "align", &page.to_string())?;
    let start = sysfs::number(&region, "resource")?;
    let mut agent = Agent::start(&[])?;
    let (mut made, mut cut) = (0, 0);
    for mode in MODES {
        for align in aligns(&region, mode)? {
            for (map, size) in
                MAPS.into_iter().flat_map(|map| sizes(align, page).into_iter().map(move |size| (map, size)))
            {
                let wanted = spec(&region, mode, map, align, size);
                // Each begins where the one before it did.
                let predicted =
                    prediction::predict(&wanted, start)?.map_err(|why| anyhow::anyhow!("{why:?}: {wanted:?}"))?;
                let found = geometry::creation(&mut agent, &wanted).with_context(|| format!("{wanted:?}"))?;
                let expected = json!({
                    "start_address": start, "reservation_bytes": predicted.dataoff,
                    "usable_bytes": predicted.usable, "end_trunc_bytes": predicted.end_trunc,
                });
                pfnwatch::ensure_contains(&json!(found), &expected).with_context(|| format!("{wanted:?}"))?;
                made += 1;
                cut += usize::from(predicted.end_trunc > 0);
            }
        }
    }
    ensure!(made >= 30 && cut >= 8, "only {made} geometries, {cut} of them with an end that is cut");
    ensure!(agent.stop()?.success(), "{}", agent.output());
    Ok(())
}

#[test]
fn guard_denies_exempts_and_holds() -> Result<()> {
    let region = regions::fresh_one()?;
    let policy = Policy::strict(GuardMode::Enforce).hold_on_exit();
    let existing = creation::create(&oversize(&region, Mode::Devdax)?)?;
    let mut agent = Guard::start(&policy)?;
    let prepared = prepare_blank(&oversize(&region, Mode::Fsdax)?)?;
    let denial = agent.denies(&prepared)?;
    let excess = denial["excess_bytes"].as_u64().context("a denial without an excess")?;
    ensure!(excess >= 2 * MIB && denial["block_uuid"] == prepared.block_uuid.as_str(), "{denial}");
    nothing_is_written(&prepared.namespace)?;
    // What is there already is enabled, however oversize it is.
    namespace::disable(&existing.namespace)?;
    namespace::enable(&existing.namespace)?;
    agent.kill()?;
    let refused = creation::claim(&oversize(&region, Mode::Fsdax)?, &prepared.namespace, &creation::new_uuid()?)?;
    ensure!(refused.bind().is_err(), "the guard did not hold without its agent");

    let mut agent = Guard::start(&policy.exempt_namespace(&refused.namespace_uuid))?;
    agent.passes(&refused)?;
    agent.judgement("exempt", &refused)?;
    agent.kill()?;
    guard::succeed(&["guard", "release"])?;
    creation::create(&oversize(&region, Mode::Devdax)?).map(drop)
}

#[test]
fn scan_reports_what_sysfs_and_the_block_say() -> Result<()> {
    let region = regions::fresh_one()?;
    let mut agent = Agent::start(&[])?;
    let mut made = Vec::new();
    for mode in MODES {
        for map in MAPS {
            let wanted = spec(&region, mode, map, aligns(&region, mode)?[1], GIB);
            made.push(creation::create(&wanted)?);
        }
    }
    let scan = pfnwatch::scan(0)?;
    for prepared in &made {
        let by_sysfs = facts::of_sysfs(&prepared.namespace)?;
        let row = pfnwatch::row(&scan, &prepared.namespace)?;
        for key in ["size_bytes", "reservation_bytes", "usable_bytes", "end_trunc_bytes", "align_bytes", "block_uuid"] {
            ensure!(row.get(key) == by_sysfs.get(key) && !row[key].is_null(), "{key}: {row:#} {by_sysfs:#?}");
        }
        pfnwatch::ensure_contains(row, &json!({ "verdict": "ok", "evidence": "info_block" }))?;
    }
    agent.stop_and_count().map(drop)
}

/// No memmap is deduplicated on arm64.
#[test]
fn memmaps_in_dram_are_what_the_kernel_takes() -> Result<()> {
    let (region, page) = (regions::fresh_one()?, page_bytes()?);
    let whole = GIB / page * 64;
    ensure!([4 * KIB, 16 * KIB].contains(&page), "pages of {page}");
    // What the first one allocates for good is no memmap.
    namespace::destroy(&creation::create(&spec(&region, Mode::Fsdax, Map::Mem, page, GIB))?.namespace)?;
    for (mode, map, expected) in
        [(Mode::Fsdax, Map::Mem, whole), (Mode::Devdax, Map::Mem, whole), (Mode::Fsdax, Map::Dev, 0)]
    {
        let wanted = spec(&region, mode, map, aligns(&region, mode)?[1], GIB);
        let found = dram::created(&wanted)?;
        ensure!(found == expected, "{expected} is right, not {found}: {wanted:?}");
    }
    Ok(())
}
