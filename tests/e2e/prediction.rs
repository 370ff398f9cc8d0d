//! What the formula predicts before a creation is what the kernel then writes, refusals included.

use anyhow::{Context, Result, ensure};
use guest::agent::Agent;
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::soak::choice::Random;
use guest::{GIB, KIB, MIB, command, namespace, page_bytes, regions, sysfs};
use pfnwatch_common::{Geometry, KernelQuirks, Rejection, Reservation, reservation};
use serde_json::{Value, json};

/// Sizes that are odd in each way that matters: whole aligns, one page more or less, and just enough for nothing.
fn sizes(align: u64) -> Vec<u64> {
    let small =
        [16 * MIB, 16 * MIB + 4 * KIB, 34 * MIB - 4 * KIB, 66 * MIB + 12 * KIB, 300 * MIB, 1000 * MIB + 4 * KIB];
    match align {
        GIB => vec![GIB, GIB + 2 * MIB, 2 * GIB - 4 * KIB, 2 * GIB + 20 * MIB + 12 * KIB, 3 * GIB],
        _ => small.to_vec(),
    }
}

/// The running kernel's rule if nothing usable is left: 6.1 and older still write a block.
fn quirks() -> Result<KernelQuirks> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(KernelQuirks { allows_empty: release.starts_with("6.1.") })
}

pub(crate) fn predict(wanted: &NamespaceSpec, start: u64) -> Result<Result<Reservation, Rejection>> {
    let map = match wanted.map {
        Map::Dev => pfnwatch_common::Map::Dev,
        Map::Mem => pfnwatch_common::Map::Mem,
    };
    let page_size = page_bytes()?;
    let geometry =
        Geometry { start, size: wanted.size_bytes, align: wanted.align_bytes, map, page_size, compat: 2 * MIB };
    Ok(reservation(&geometry, 64, quirks()?))
}

/// Predicts, creates, and compares the event (which other tests compare with the media) with the prediction; returns
/// whether it was made, if it was attempted.
fn compare(agent: &mut Agent, wanted: &NamespaceSpec) -> Result<Option<bool>> {
    let prepared = creation::prepare(wanted)?;
    let predicted = predict(wanted, sysfs::number(&prepared.namespace, "resource")?)?;
    if wanted.mode == Mode::Fsdax && predicted.is_ok_and(|predicted| predicted.npfns == 0) {
        // 6.1 makes it, and panics as soon as it is disabled (memunmap_pages, seen on 6.1.176).
        namespace::destroy(&prepared.namespace)?;
        return Ok(None);
    }
    let bound = prepared.bind();
    let said = format!("{predicted:?}, and the bind: {bound:?}");
    let made = match predicted {
        Ok(predicted) => {
            let event = agent.set_up(&prepared.namespace_uuid, "made").with_context(|| said.clone())?;
            for (key, value) in [
                ("dataoff_bytes", predicted.dataoff),
                ("npfns", predicted.npfns),
                ("end_trunc_bytes", predicted.end_trunc),
                ("usable_bytes", predicted.usable),
            ] {
                ensure!(event.get(key) == Some(&json!(value)), "{key}: predicted {value}\n{said}\n{event}");
            }
            true
        }
        Err(_) => {
            let event = agent.set_up(&prepared.namespace_uuid, "none").with_context(|| said.clone())?;
            ensure!(bound.is_err() && event.get("outcome") == Some(&json!("refused")), "{said}\n{event}");
            false
        }
    };
    namespace::destroy(&prepared.namespace)?;
    Ok(Some(made))
}

/// All geometries of one mode in both regions, whose starts differ modulo every align but 4 KiB.
fn geometries(mode: Mode) -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let (mut made, mut refused) = (0, 0);
    for region in [&regions.first, &regions.second] {
        // Sizes need only be whole pages, then.
        sysfs::write(region, "align", "4096")?;
        for align_bytes in [4 * KIB, 2 * MIB, GIB] {
            for (map, size_bytes) in [Map::Dev, Map::Mem]
                .into_iter()
                .flat_map(|map| sizes(align_bytes).into_iter().map(move |size| (map, size)))
            {
                let wanted = NamespaceSpec { map, align_bytes, ..NamespaceSpec::new(region, mode, size_bytes) };
                match compare(&mut agent, &wanted).with_context(|| format!("{wanted:?}"))? {
                    Some(true) => made += 1,
                    Some(false) => refused += 1,
                    None => {}
                }
            }
        }
    }
    eprintln!("{made} made, {refused} refused");
    ensure!(made + refused >= 60 && refused >= 1, "{made} made, {refused} refused: too few of one kind");
    ensure!(agent.stop()?.success(), "{}", agent.output());
    Ok(())
}

#[test]
fn fsdax_is_what_the_kernel_writes() -> Result<()> {
    geometries(Mode::Fsdax)
}

#[test]
fn devdax_is_what_the_kernel_writes() -> Result<()> {
    geometries(Mode::Devdax)
}

/// Whether the kernel writes a block that leaves nothing usable is in its code, and no version shows it.
#[test]
fn predict_reads_from_the_code_what_becomes_of_an_empty_namespace() -> Result<()> {
    regions::fresh()?;
    // 2 MiB of reservation, and an end that is not aligned.
    let asked = ["predict", "--size", "2101248", "--start", "0x100000000", "--align", "2M", "--format", "json"];
    let said = command::attempt("/bin/pfnwatch", &asked)?;
    let prediction: Value = serde_json::from_str(&said.stdout).with_context(|| format!("no JSON: {said:?}"))?;
    // That a kernel makes such a namespace is a finding.
    let (expected, code) = if quirks()?.allows_empty { ("reserved", 3) } else { ("refused", 0) };
    ensure!(prediction["this_kernel"]["outcome"] == expected, "{expected} is right, not {said:?}");
    ensure!(said.code == Some(code), "{code} is right, not {said:?}");
    Ok(())
}

/// The command itself, with MAX_STRUCT_PAGE_SIZE from the code of the running kernel.
#[test]
fn predict_finds_the_running_kernel_by_its_code() -> Result<()> {
    let regions = regions::fresh()?;
    let said = command::run(
        "/bin/pfnwatch",
        &["predict", "--size", "1GiB", "--align", "2M", "--map", "dev", "--region", &regions.first, "--format", "json"],
    )?;
    let prediction: Value = serde_json::from_str(&said).context("no JSON")?;
    let wanted = NamespaceSpec::new(&regions.first, Mode::Fsdax, GIB);
    let made = creation::create(&wanted)?;
    let reserved = sysfs::number(&made.holder, "resource")? - sysfs::number(&made.namespace, "resource")?;
    let text = prediction.to_string();
    ensure!(text.contains(&format!("\"reservation_bytes\":{reserved}")), "{reserved} is right, not {text}");
    ensure!(text.contains("nvdimm_setup_pfn as it runs"), "not by its code: {text}");
    Ok(())
}

/// Random sizes, aligns and maps: `--usable` gives the least size that the kernel makes so much usable of, and `--pieces-of` counts
/// what the kernel then offers.
#[test]
fn predict_finds_the_size_to_type() -> Result<()> {
    let regions = regions::fresh()?;
    let seed = std::process::id().into();
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    for case in 0..12_u32 {
        let region = if random.coin() { &regions.first } else { &regions.second };
        let region_align = if random.coin() { 4096 } else { 16 * MIB };
        sysfs::write(region, "align", &region_align.to_string())?;
        let align_bytes = random.one_of(&[4 * KIB, 2 * MIB, GIB]).copied().unwrap_or(GIB);
        let map = if random.below(3) > 0 { Map::Dev } else { Map::Mem };
        let usable = 16 * MIB + random.below(GIB);
        let asked = format!("case {case}: {usable} bytes in {region}, align {align_bytes}, {map:?}");
        let predicted =
            predict_json(region, align_bytes, map, &["--usable", &usable.to_string()]).context(asked.clone())?;
        let size = predicted["request"]["size_bytes"].as_u64().context("no size")?;
        let wanted =
            |size_bytes| NamespaceSpec { map, align_bytes, ..NamespaceSpec::new(region, Mode::Devdax, size_bytes) };
        let made = creation::create(&wanted(size)).with_context(|| format!("{asked}: {predicted:#}"))?;
        let (first, given) = (sysfs::number(&made.holder, "resource")?, sysfs::number(&made.holder, "size")?);
        ensure!(given >= usable, "{asked}: {given} of {size}: {predicted:#}");
        namespace::destroy(&made.namespace)?;
        let pieces = predict_json(region, align_bytes, map, &["--size", &size.to_string(), "--pieces-of", "64MiB"])?;
        let counted = ((first + given) / (64 * MIB)).saturating_sub(first.div_ceil(64 * MIB));
        ensure!(pieces["pieces"]["pieces"] == counted, "{asked}: {counted} pieces, not {pieces:#}");
        let smaller = size - region_align.max(align_bytes);
        if smaller >= 16 * MIB {
            let made = creation::prepare(&wanted(smaller))?;
            if made.bind().is_ok() {
                let given = sysfs::number(&made.holder, "size")?;
                ensure!(given < usable, "{asked}: {smaller} has {given} as well");
            }
            namespace::destroy(&made.namespace)?;
        }
    }
    Ok(())
}

fn predict_json(region: &str, align_bytes: u64, map: Map, more: &[&str]) -> Result<Value> {
    let (align, map) = (align_bytes.to_string(), if map == Map::Dev { "dev" } else { "mem" });
    // The code of the kernel is read by other tests.
    let usual = ["predict", "--region", region, "--mode", "devdax", "--max-struct-page", "64", "--format", "json"];
    let arguments = [&usual[..], &["--align", &align, "--map", map], more].concat();
    serde_json::from_str(&command::run("/bin/pfnwatch", &arguments)?).context("no JSON")
}
