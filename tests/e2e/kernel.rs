//! The output of `pfnwatch kernel` and `pfnwatch superblock`, compared with the running kernel and the blocks that it
//! wrote.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::hidden_store::HiddenStore;
use guest::infoblock::InfoBlock;
use guest::kernel_lines::{kernel_exit_code, loses_memmap};
use guest::{GIB, MIB, agent, command, modules, regions};
use serde_json::Value;

fn report(code: i32, arguments: &[&str]) -> Result<Value> {
    let said = command::attempt(agent::PROGRAM, arguments)?;
    ensure!(said.code == Some(code), "{arguments:?}: {said:?}");
    serde_json::from_str(&said.stdout).with_context(|| format!("{arguments:?}: {said:?}"))
}

#[test]
fn the_running_code_shows_64() -> Result<()> {
    modules::load_stack()?;
    let report = report(kernel_exit_code()?, &["kernel", "--running", "--format", "json"])?;
    let kernel = &report["kernels"][0];
    assert_eq!((&kernel["verdict"], &kernel["max_struct_page_bytes"]), (&"ok".into(), &64.into()), "{kernel:#}");
    assert_eq!(kernel["conflicts"], Value::Array(Vec::new()), "{kernel:#}");
    let evidence = kernel["evidence"].as_array().context("evidence is a list")?;
    let sources: Vec<_> = evidence.iter().filter_map(|evidence| evidence["source"].as_str()).collect();
    assert_eq!(sources, ["running code", "module file"], "{kernel:#}");
    // Both are one function: what runs lies as far behind its start as in the file.
    let between =
        |index: usize| Some(evidence[index]["shift_address"].as_u64()? - evidence[index]["store_address"].as_u64()?);
    ensure!(between(0).is_some() && between(0) == between(1), "{kernel:#}");
    Ok(())
}

#[test]
fn the_running_code_shows_whether_a_memmap_in_dram_is_returned() -> Result<()> {
    modules::load_stack()?;
    let report = report(kernel_exit_code()?, &["kernel", "--running", "--format", "json"])?;
    let kernel = &report["kernels"][0];
    let loses = loses_memmap(kernel["release"].as_str().context("no release")?);
    let (found, verdict) = if loses { ("not_returned", "regressed") } else { ("returned", "ok") };
    assert_eq!(kernel["memmap_in_dram"], found, "{kernel:#}");
    let defects = kernel["defects"].as_array().context("defects is a list")?;
    let row = defects.iter().find(|row| row["id"] == "memmap_not_returned").context("no row")?;
    assert_eq!((&row["verdict"], &row["evidence"]), (&verdict.into(), &"running code".into()), "{kernel:#}");
    let doctor = command::attempt(agent::PROGRAM, &["doctor", "--format", "json"])?;
    let doctor: Value = serde_json::from_str(&doctor.stdout)?;
    assert_eq!(doctor["warnings"].as_array().map(Vec::len), Some(usize::from(loses)), "{doctor:#}");
    Ok(())
}

#[test]
fn a_kprobe_inside_the_function_makes_its_running_code_unknown() -> Result<()> {
    modules::load_stack()?;
    let running = || report(kernel_exit_code()?, &["kernel", "--running", "--format", "json"]);
    let hidden = HiddenStore::hide()?;
    let kernel = running()?["kernels"][0].clone();
    assert_eq!(kernel["evidence"][0]["source"], "module file", "{kernel:#}");
    let problem = kernel["problems"][0].as_str().unwrap_or_default();
    ensure!(problem.contains(&format!("breakpoint at {:#x}", hidden.address)), "{kernel:#}");
    drop(hidden);
    assert_eq!(running()?["kernels"][0]["evidence"][0]["source"], "running code", "the probe is gone");
    Ok(())
}

#[test]
fn without_libnvdimm_the_module_file_answers() -> Result<()> {
    modules::unload_stack()?;
    let report = report(kernel_exit_code()?, &["kernel", "--running", "--format", "json"])?;
    modules::load_stack()?;
    let kernel = &report["kernels"][0];
    assert_eq!((&kernel["verdict"], &kernel["evidence"][0]["source"]), (&"ok".into(), &"module file".into()));
    let problem = kernel["problems"][0].as_str().unwrap_or_default();
    ensure!(problem.contains("libnvdimm is not loaded"), "{kernel:#}");
    Ok(())
}

#[test]
fn a_block_of_this_kernels_is_read_and_follows_the_formula() -> Result<()> {
    let regions = regions::fresh()?;
    for (mode, map, align_bytes, reservation) in [
        (Mode::Fsdax, Map::Dev, 2 * MIB, 18 * MIB),
        (Mode::Devdax, Map::Mem, 2 * MIB, 2 * MIB),
        (Mode::Devdax, Map::Dev, 4096, 18 * MIB),
    ] {
        let region = regions.second.clone();
        let made = creation::create(&NamespaceSpec { map, align_bytes, ..NamespaceSpec::new(&region, mode, GIB) })?;
        let block = InfoBlock::read(&made.namespace)?;
        fs::write("/tmp/block", block.bytes())?;
        let report = report(0, &["superblock", "/tmp/block", "--format", "json"])?;
        assert_eq!(report["reservation_bytes"], reservation, "{report:#}");
        assert_eq!((&report["excess_bytes"], &report["checksum_right"]), (&0.into(), &true.into()), "{report:#}");
        assert_eq!(
            (&report["follows_formula"], &report["geometry_mismatch"]),
            (&true.into(), &Value::Null),
            "{report:#}"
        );
        assert_eq!(report["uuid"], made.block_uuid, "{report:#}");
        assert_eq!(report["align_bytes"], align_bytes, "{report:#}");
        regions::fresh()?;
    }
    Ok(())
}
