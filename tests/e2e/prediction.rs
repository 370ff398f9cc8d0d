//! What the formula predicts before a creation is what the kernel then writes, refusals included.

use anyhow::{Context, Result, ensure};
use guest::agent::Agent;
use guest::boot_config::BootConfig;
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::soak::choice::Random;
use guest::{GIB, KIB, MIB, command, modules, namespace, page_bytes, regions, sysfs};
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

/// Random cases of each inverse. A devdax namespace without the driver of its character device has no memmap to be initialized, and
/// is made in no time. The other lines see some of them.
const CASES: u32 = 100;
const CASES_LINE: &str = "6.12";
const CASES_ELSEWHERE: u32 = 12;

/// A place for a random namespace: the region with an align, and what the kernel requires of its size.
struct Case {
    region: String,
    align_bytes: u64,
    map: Map,
    /// What sizes are multiples of.
    step: u64,
}

impl Case {
    fn random(random: &mut Random, regions: &regions::Regions) -> Result<Self> {
        let region = if random.coin() { &regions.first } else { &regions.second };
        let region_align = if random.coin() { 4096 } else { 16 * MIB };
        sysfs::write(region, "align", &region_align.to_string())?;
        let align_bytes = random.one_of(&[4 * KIB, 2 * MIB, GIB]).copied().unwrap_or(GIB);
        let map = if random.below(3) > 0 { Map::Dev } else { Map::Mem };
        Ok(Self { region: region.clone(), align_bytes, map, step: region_align.max(align_bytes) })
    }

    fn wanted(&self, size_bytes: u64) -> NamespaceSpec {
        let Self { region, align_bytes, map, .. } = self;
        NamespaceSpec { map: *map, align_bytes: *align_bytes, ..NamespaceSpec::new(region, Mode::Devdax, size_bytes) }
    }

    fn predict(&self, more: &[&str]) -> Result<Value> {
        let (align, map) = (self.align_bytes.to_string(), if self.map == Map::Dev { "dev" } else { "mem" });
        // The code of the kernel is read by other tests.
        let usual =
            ["predict", "--region", &self.region, "--mode", "devdax", "--max-struct-page", "64", "--format", "json"];
        let arguments = [&usual[..], &["--align", &align, "--map", map], more].concat();
        let said = command::attempt("/bin/pfnwatch", &arguments)?;
        // That nothing would be usable is a finding.
        ensure!(matches!(said.code, Some(0 | 3)), "{said:?}");
        serde_json::from_str(&said.stdout).context("no JSON")
    }

    /// Makes a namespace of the size that was predicted, and returns its first usable byte and how many there are.
    fn make(&self, predicted: &Value) -> Result<(u64, u64)> {
        let size = predicted.pointer("/request/size_bytes").and_then(Value::as_u64).context("no size")?;
        let made = creation::create(&self.wanted(size)).with_context(|| format!("{predicted:#}"))?;
        let given = (sysfs::number(&made.holder, "resource")?, sysfs::number(&made.holder, "size")?);
        namespace::destroy(&made.namespace)?;
        Ok(given)
    }
}

fn random_cases(check: impl Fn(&mut Random, &Case) -> Result<()>) -> Result<()> {
    let regions = regions::fresh()?;
    if modules::loaded("device_dax") {
        modules::unload("device_dax")?;
    }
    let seed = u64::from(std::process::id());
    let mut random = Random::new(seed);
    let cases = if BootConfig::read()?.line == CASES_LINE { CASES } else { CASES_ELSEWHERE };
    for number in 0..cases {
        let case = Case::random(&mut random, &regions)?;
        let said = format!("seed {seed}, case {number}: {}, align {}, {:?}", case.region, case.align_bytes, case.map);
        check(&mut random, &case).context(said)?;
    }
    Ok(())
}

fn random_piece(random: &mut Random) -> u64 {
    random.one_of(&[2 * MIB, 32 * MIB, 64 * MIB, 256 * MIB, GIB]).copied().unwrap_or(GIB)
}

/// `--pieces-of` counts the aligned pieces of what the kernel offers.
fn has_pieces(predicted: &Value, piece: u64, (first, given): (u64, u64)) -> Result<()> {
    let starts = (0..8 * GIB / piece).map(|number| first / piece * piece + number * piece);
    let counted = starts.filter(|start| *start >= first && start + piece <= first + given).count();
    let predicted_pieces = predicted.pointer("/pieces/pieces").and_then(Value::as_u64);
    ensure!(predicted_pieces == u64::try_from(counted).ok(), "{counted} pieces of {piece} bytes, not {predicted:#}");
    Ok(())
}

/// `--usable` gives the least size that the kernel makes so much usable of.
#[test]
fn predict_finds_the_least_size_for_what_is_to_be_usable() -> Result<()> {
    random_cases(|random, case| {
        let usable = 16 * MIB + random.below(GIB);
        let piece = random_piece(random);
        let predicted = case.predict(&["--usable", &usable.to_string(), "--pieces-of", &piece.to_string()])?;
        let (first, given) = case.make(&predicted)?;
        has_pieces(&predicted, piece, (first, given))?;
        ensure!(given >= usable, "{usable} bytes: {given} of {predicted:#}");
        let size = predicted["request"]["size_bytes"].as_u64().context("no size")?;
        let smaller = size.saturating_sub(case.step);
        if smaller >= 16 * MIB {
            let made = creation::prepare(&case.wanted(smaller))?;
            if made.bind().is_ok() {
                let given = sysfs::number(&made.holder, "size")?;
                ensure!(given < usable, "{usable} bytes: {smaller} has {given} as well");
            }
            namespace::destroy(&made.namespace)?;
        }
        Ok(())
    })
}

/// `--percent` gives the largest size of that share that the kernel takes, of what it reports as free.
#[test]
fn predict_finds_the_size_for_a_share_of_what_is_free() -> Result<()> {
    random_cases(|random, case| {
        // Something else is there already: a label alone takes its room.
        let taken = (16 * MIB * random.below(60)).next_multiple_of(case.step);
        let other = (taken > 0).then(|| creation::prepare(&case.wanted(taken))).transpose()?;
        if let Some(other) = &other {
            // The region has another seed once this namespace has been enabled.
            namespace::disable(&other.namespace)?;
            sysfs::write(&other.namespace, "force_raw", "1")?;
            sysfs::bind(&other.namespace, "nd_pmem")?;
        }
        let free = sysfs::number(&case.region, "available_size")?;
        let percent = 1 + random.below(100);
        let share = u64::try_from(u128::from(free) * u128::from(percent) / 100)?;
        let piece = random_piece(random);
        let arguments = ["--percent", &percent.to_string(), "--pieces-of", &piece.to_string()];
        if share / case.step * case.step < 16 * MIB {
            ensure!(case.predict(&arguments).is_err(), "{percent} % of {free}: less than ndctl takes");
        } else {
            let predicted = case.predict(&arguments)?;
            let size = predicted["request"]["size_bytes"].as_u64().context("no size")?;
            ensure!(size == share / case.step * case.step, "{percent} % of {free}: {predicted:#}");
            let made = creation::prepare(&case.wanted(size))?;
            let bound = made.bind();
            match predicted["this_kernel"]["usable_bytes"].as_u64() {
                // Whether that is made depends on the kernel, and other tests look.
                Some(0) => {}
                Some(usable) => {
                    bound.with_context(|| format!("{predicted:#}"))?;
                    let (first, given) =
                        (sysfs::number(&made.holder, "resource")?, sysfs::number(&made.holder, "size")?);
                    ensure!(given == usable, "{percent} % of {free}: {given} of {predicted:#}");
                    has_pieces(&predicted, piece, (first, given))?;
                }
                None => ensure!(bound.is_err(), "{percent} % of {free}: made, and not {predicted:#}"),
            }
            namespace::destroy(&made.namespace)?;
        }
        if let Some(other) = other {
            sysfs::unbind(&other.namespace)?;
            sysfs::write(&other.namespace, "force_raw", "0")?;
            namespace::destroy(&other.namespace)?;
        }
        Ok(())
    })
}
