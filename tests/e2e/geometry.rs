//! Creations: every field of the agent's `set_up` agrees with sysfs, the raw info block and procfs, to the byte.

use std::fs;

use anyhow::{Context, Result, ensure};
use guest::agent::Agent;
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::facts::{self, Facts};
use guest::infoblock::InfoBlock;
use guest::{GIB, KIB, MIB, namespace, ndctl, regions, sysfs};
use serde_json::{Value, json};

/// Sizes for an align: a round one, and one that only pages divide, so that the end is cut.
fn sizes(align: u64) -> [u64; 2] {
    match align {
        GIB => [2 * GIB, 2 * GIB + 20 * MIB + 12 * KIB],
        _ => [16 * MIB, 300 * MIB - 4 * KIB],
    }
}

/// One creation through sysfs, from the event to the raw block, and its end.
pub(crate) fn creation(agent: &mut Agent, wanted: &NamespaceSpec) -> Result<Facts> {
    let made = creation::create(wanted)?;
    let event = agent.set_up(&made.namespace_uuid, "made")?;
    let by_sysfs = facts::of_sysfs(&made.namespace)?;
    let by_block = facts::of_block(&namespace_block(&made.namespace)?)?;
    let success = facts::of_success(true, facts::this_thread()?)?;
    for known in [&by_sysfs, &by_block, &success] {
        facts::compare(&event, known)?;
    }
    facts::nothing_else(&event, &[&by_sysfs, &by_block, &success])?;
    ensure!(
        by_sysfs.get("device") == Some(&json!(made.holder))
            && by_block.get("block_uuid") == Some(&json!(made.block_uuid))
    );
    namespace::destroy(&made.namespace)?;
    Ok(by_sysfs)
}

fn namespace_block(name: &str) -> Result<InfoBlock> {
    guest::infoblock::raw(name, InfoBlock::of)
}

/// All geometries of one mode, in both regions: their starts differ modulo every align but 4 KiB.
fn geometries(mode: Mode) -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let mut cut = 0;
    for region in [&regions.first, &regions.second] {
        // Sizes need only be whole pages, then.
        sysfs::write(region, "align", "4096")?;
        let seed = if mode == Mode::Fsdax { "pfn_seed" } else { "dax_seed" };
        let aligns = sysfs::choices(&sysfs::text(region, seed)?, "supported_alignments")?;
        ensure!(aligns.starts_with(&[4 * KIB, 2 * MIB]), "this kernel offers {aligns:?}");
        for align_bytes in aligns {
            for (map, size_bytes) in
                [Map::Dev, Map::Mem].into_iter().flat_map(|map| sizes(align_bytes).map(|size| (map, size)))
            {
                let wanted = NamespaceSpec { map, align_bytes, ..NamespaceSpec::new(region, mode, size_bytes) };
                let found = creation(&mut agent, &wanted).with_context(|| format!("{wanted:?}"))?;
                cut += usize::from(found.get("end_trunc_bytes") != Some(&json!(0)));
            }
        }
    }
    ensure!(cut >= 8, "only {cut} geometries had an end that is cut");
    ensure!(agent.stop()?.success(), "{}", agent.output());
    Ok(())
}

#[test]
fn fsdax_by_sysfs() -> Result<()> {
    geometries(Mode::Fsdax)
}

#[test]
fn devdax_by_sysfs() -> Result<()> {
    geometries(Mode::Devdax)
}

/// Moves this process into a cgroup of its own, and sets its real uid; its effective uid stays root.
fn become_somebody() -> Result<()> {
    let group = "/sys/fs/cgroup/pfnwatch-e2e/creator";
    fs::create_dir_all(group)?;
    fs::write(format!("{group}/cgroup.procs"), std::process::id().to_string())?;
    let root = nix::unistd::Uid::from_raw(0);
    nix::unistd::setresuid(nix::unistd::Uid::from_raw(1234), root, root)?;
    Ok(())
}

#[test]
fn creator_is_named_with_uid_and_cgroup() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    become_somebody()?;
    let wanted = NamespaceSpec::new(&regions.first, Mode::Devdax, 64 * MIB);
    let made = creation::create(&wanted)?;
    let me = facts::this_thread()?;
    assert_eq!((&me["uid"], &me["cgroup"]), (&json!(1234), &json!("/pfnwatch-e2e/creator")));
    facts::compare(&agent.set_up(&made.namespace_uuid, "made")?, &facts::of_success(true, me)?)
}

/// ndctl's own description of a namespace that it made, as an event has it.
fn of_ndctl(made: &Value) -> Result<Facts> {
    let number = |key: &str| ndctl::number(made, key);
    let facts = json!({
        "namespace": ndctl::text(made, "dev")?, "map": ndctl::text(made, "map")?,
        "personality": ndctl::text(made, "mode")?, "block_uuid": ndctl::text(made, "uuid")?,
        "align_bytes": number("align")?, "usable_bytes": number("size")?,
    });
    Ok(facts.as_object().cloned().unwrap_or_default())
}

#[test]
fn ndctl_sample_agrees_with_ndctl_list() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let samples: [&[&str]; 2] = [
        &["-m", "fsdax", "-M", "dev", "-a", "2M", "-s", "1G"],
        &["-m", "devdax", "-M", "mem", "-a", "4K", "-s", "272M"],
    ];
    for arguments in samples {
        let dev = ndctl::text(&ndctl::create(&regions.first, arguments)?, "dev")?.to_owned();
        let listed = ndctl::ndctl(&["list", "-N", "-n", &dev])?;
        let listed = listed.as_array().and_then(|list| list.first()).unwrap_or(&listed);
        let label = sysfs::text(&dev, "uuid")?;
        let event = agent.set_up(&label, "made")?;
        let block = namespace_block(&dev).and_then(|block| facts::of_block(&block));
        let success = facts::of_success(true, event["by"].clone())?;
        for known in [of_ndctl(listed)?, block?, success] {
            facts::compare(&event, &known)?;
        }
        assert_eq!((&event["by"]["comm"], &event["by"]["uid"]), (&json!("ndctl"), &json!(0)));
        ensure!(event["by"]["pid"].as_u64() > Some(1), "{event}");
    }
    Ok(())
}
