//! What is denied, and what a denial leaves: nothing written, nothing behind, a reason, and room for what is lean.

use anyhow::{Context as _, Result, ensure};
use guest::creation::{self, Map, NamespaceSpec};
use guest::dmesg::Mark;
use guest::guard::Guard;
use guest::pfnwatch::ensure_contains;
use guest::policy::{GuardMode, Policy};
use guest::{MIB, command, facts, formula, namespace, ndctl, regions, sysfs};
use serde_json::json;

use super::fixtures::{MODES, again, count, no_other_warning, nothing_is_written, prepare_blank, room, wanted};

/// Both kinds, on both NVDIMMs: the second lies at an odd multiple of 2 MiB.
#[test]
fn creation_with_map_dev_before_anything_is_written() -> Result<()> {
    let regions = regions::fresh()?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let log = Mark::now()?;
    for (mode, region) in MODES.into_iter().zip([&regions.first, &regions.second]) {
        let wanted = wanted(region, mode, Map::Dev);
        let prepared = prepare_blank(&wanted)?;
        let event = guard.denies(&prepared)?;
        let start = sysfs::number(&prepared.namespace, "resource")?;
        let of = |struct_page| formula::reservation(start, wanted.size_bytes, wanted.align_bytes, struct_page);
        let expected = json!({
            "schema": 1, "namespace": prepared.namespace, "namespace_uuid": prepared.namespace_uuid,
            "device": prepared.holder, "region": region, "start_address": start, "size_bytes": wanted.size_bytes,
            "align_bytes": wanted.align_bytes, "reservation_bytes": of(64), "ideal_bytes": of(32),
            "excess_bytes": of(64) - of(32), "by": facts::this_thread()?,
        });
        ensure_contains(&event, &expected)?;
        nothing_is_written(&prepared.namespace)?;
        // The same namespace with its memmap in DRAM is nobody's loss.
        let lean = again(&super::fixtures::wanted(region, mode, Map::Mem), &prepared.namespace)?;
        guard.passes(&lean)?;
        guard.set_up(&lean.namespace_uuid, "made")?;
    }
    no_other_warning(log)?;
    guard.judged_only(&["denied", "denied"])
}

/// All that ndctl does, and all that it undoes.
#[test]
fn ndctl_says_why_as_well_as_it_can_and_leaves_nothing_behind() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let (log, free) = (Mark::now()?, room(&region)?);
    for mode in ["fsdax", "devdax"] {
        let create = ["create-namespace", "-r", &region, "-m", mode, "-M", "dev", "-s", "512M", "-a", "2M"];
        let said = command::attempt("/bin/ndctl", &create)?;
        ensure!(said.code.is_some_and(|code| code != 0), "it was not denied: {said:?}");
        for words in ["failed to enable", "failed to create namespace: No such device or address"] {
            ensure!(said.stderr.contains(words), "the documentation has {words:?}: {said:?}");
        }
        assert_eq!((count(&region)?, room(&region)?), (0, free), "what is left: {}", ndctl::ndctl(&["list", "-Ni"])?);
    }
    no_other_warning(log)?;
    let told = guard.judgements_at_least(2)?;
    ensure!(told.iter().all(|event| event["by"]["comm"] == "ndctl"), "who asked: {told:#?}");
    // The one after it has the same room.
    let lean = ndctl::create(&region, &["-m", "fsdax", "-M", "mem", "-s", "512M", "-a", "2M"])?;
    ensure!(sysfs::number(ndctl::text(&lean, "dev")?, "size")? == 512 << 20, "{lean}");
    guard.judged_only(&["denied", "denied"]).context("by ndctl")
}

/// Without labels: the namespace is identified by its address.
#[test]
fn e820_namespace() -> Result<()> {
    let region = regions::fresh()?.legacy;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let prepared = creation::prepare(&wanted(&region, MODES[0], Map::Dev))?;
    let event = guard.denies(&prepared)?;
    let start = sysfs::number(&prepared.namespace, "resource")?;
    ensure_contains(&event, &json!({ "namespace_uuid": null, "start_address": start, "region": region }))?;
    nothing_is_written(&prepared.namespace)?;
    guard.judged_only(&["denied"])
}

/// The guard and the verdict after the fact agree on what is oversize, also at the limits.
#[test]
fn is_just_what_the_verdict_calls_oversize() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Audit))?;
    let shapes = [(64, 4096), (128, 4096), (256, 4096), (384, 4096), (128, 2 * MIB), (256, 2 * MIB), (384, 2 * MIB)];
    let mut differ = Vec::new();
    for (mebibytes, align_bytes) in shapes {
        let shape = wanted(&region, MODES[0], Map::Dev);
        let prepared = creation::prepare(&NamespaceSpec { size_bytes: mebibytes * MIB, align_bytes, ..shape })?;
        guard.passes(&prepared)?;
        let verdict = guard.set_up(&prepared.namespace_uuid, "made")?["verdict"].clone();
        // Reported before the set-up.
        let denied = guard.judgements().iter().any(|event| event["block_uuid"] == prepared.block_uuid.as_str());
        if denied != (verdict == "oversize") {
            differ.push(format!("{mebibytes} MiB at align {align_bytes}: would be denied {denied}, verdict {verdict}"));
        }
        namespace::destroy(&prepared.namespace)?;
    }
    ensure!(differ.is_empty(), "{differ:#?}");
    Ok(())
}

/// In audit mode a would-be denial is allowed, and reported.
#[test]
fn audit_tells_and_lets_pass() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Audit))?;
    for mode in MODES {
        let prepared = creation::prepare(&wanted(&region, mode, Map::Dev))?;
        guard.passes(&prepared)?;
        let told = guard.judgement("would_deny", &prepared)?;
        let made = guard.set_up(&prepared.namespace_uuid, "made")?;
        // What was foretold is what came.
        for key in ["reservation_bytes", "ideal_bytes", "excess_bytes", "size_bytes", "start_address", "align_bytes"] {
            ensure!(told.get(key).is_some() && told[key] == made[key], "{key}: {told} and {made}");
        }
    }
    guard.judged_only(&["would_deny", "would_deny"])
}
