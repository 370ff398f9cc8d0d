//! `pfnwatch scan`: the same numbers as sysfs and the info block, with and without root, and nothing is disabled for it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use guest::agent::Agent;
use guest::bpf::{self, ObjectKind};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::infoblock::{self, InfoBlock};
use guest::{MIB, facts, ndctl, regions, sysfs};
use serde_json::Value;

const SHARED: [&str; 8] = [
    "namespace_uuid",
    "block_uuid",
    "map",
    "align_bytes",
    "reservation_bytes",
    "end_trunc_bytes",
    "usable_bytes",
    "ideal_bytes",
];

/// Runs `scan` as this user; all namespaces of its report.
fn scan(user: u32, arguments: &[&str]) -> Result<Vec<Value>> {
    let mut command = Command::new("/bin/pfnwatch");
    command.args(["scan", "--format", "json"]).args(arguments).uid(user).gid(user);
    let output = command.output().context("cannot start pfnwatch")?;
    ensure!(output.status.success(), "scan: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).context("no JSON")?;
    ensure!(report.get("schema") == Some(&Value::from(1)), "{report}");
    report.get("namespaces").and_then(Value::as_array).cloned().context("no namespaces")
}

fn row<'a>(rows: &'a [Value], namespace: &str) -> Result<&'a Value> {
    rows.iter().find(|row| row["namespace"] == namespace).with_context(|| format!("{namespace} is not in the report"))
}

#[test]
fn enabled_namespaces_are_read_to_the_byte() -> Result<()> {
    let regions = regions::fresh()?;
    let geometries = [
        (&regions.first, Mode::Fsdax, Map::Dev, 304 * MIB, 2 * MIB),
        (&regions.first, Mode::Devdax, Map::Dev, 256 * MIB, 4096),
        (&regions.second, Mode::Devdax, Map::Mem, 512 * MIB, 2 * MIB),
        (&regions.second, Mode::Fsdax, Map::Mem, 48 * MIB, 2 * MIB),
    ];
    let mut made = Vec::new();
    for (region, mode, map, size_bytes, align_bytes) in geometries {
        made.push(creation::create(&NamespaceSpec {
            map,
            align_bytes,
            ..NamespaceSpec::new(region, mode, size_bytes)
        })?);
    }
    let exact = scan(0, &[])?;
    let by_sysfs = scan(0, &["--without-ebpf"])?;
    let inferred = scan(65534, &[])?;
    for it in &made {
        ensure!(sysfs::driver(&it.holder).is_some(), "{} was disabled by scan", it.holder);
        let found = row(&exact, &it.namespace)?;
        assert_eq!((&found["evidence"], &found["exact"]), (&Value::from("info_block"), &Value::from(true)), "{found}");
        assert_eq!(row(&by_sysfs, &it.namespace)?["evidence"], "sysfs");
        // Without root the same numbers, or none: never others.
        let unprivileged = row(&inferred, &it.namespace)?;
        ensure!(unprivileged["evidence"] == "inferred" || unprivileged["verdict"] == "unknown", "{unprivileged}");
        for rows in [&exact, &by_sysfs, &inferred] {
            let row = row(rows, &it.namespace)?;
            ensure!(row["verdict"] == "ok" || row["verdict"] == "unknown", "{row}");
            for key in ["reservation_bytes", "usable_bytes", "end_trunc_bytes"] {
                ensure!(row[key].is_null() || row[key] == found[key], "{key} of {row} is not {}", found[key]);
            }
        }
    }
    // Last, since reading the media disables the namespaces.
    for it in &made {
        let found = row(&exact, &it.namespace)?;
        let block = facts::of_block(&infoblock::raw(&it.namespace, InfoBlock::of)?)?;
        for key in SHARED {
            ensure!(
                block.get(key) == Some(&found[key]),
                "{key}: {:?} on the media, {} by scan",
                block.get(key),
                found[key]
            );
        }
    }
    Ok(())
}

/// One block was read at the agent's start, the other written while it ran.
#[test]
fn the_agents_blocks_are_those_that_the_kernel_has() -> Result<()> {
    let regions = regions::fresh()?;
    let spec = |region, mode| NamespaceSpec { align_bytes: 2 * MIB, ..NamespaceSpec::new(region, mode, 256 * MIB) };
    creation::create(&spec(&regions.first, Mode::Devdax))?;
    let mut agent = Agent::start(&[])?;
    creation::create(&spec(&regions.second, Mode::Fsdax))?;
    let newest = || Ok::<_, anyhow::Error>(bpf::ids(ObjectKind::Programs)?.last().copied());
    let before = newest()?;
    let asked = scan(0, &[])?;
    ensure!(newest()? == before && before.is_some(), "scan has loaded a program");
    let itself = scan(0, &["--control-socket", "/nowhere"])?;
    ensure!(asked == itself, "{asked:?} is not {itself:?}");
    let exact = asked.iter().filter(|row| row["evidence"] == "info_block").count();
    ensure!(exact == 2, "{exact} are known by their blocks: {asked:?}");
    agent.stop()?;
    Ok(())
}

#[test]
fn raw_sector_and_legacy_namespaces_have_no_reservation() -> Result<()> {
    let regions = regions::fresh()?;
    let raw = ndctl::create(&regions.first, &["-m", "raw", "-s", "256M"])?;
    let sector = ndctl::create(&regions.first, &["-m", "sector", "-s", "256M"])?;
    let legacy = regions::namespaces(&regions.legacy)?;
    let rows = scan(0, &[])?;
    for namespace in
        [ndctl::text(&raw, "dev")?, ndctl::text(&sector, "dev")?].into_iter().chain(legacy.iter().map(String::as_str))
    {
        let row = row(&rows, namespace)?;
        assert_eq!((&row["verdict"], &row["reservation_bytes"]), (&Value::from("ok"), &Value::from(0)), "{row}");
    }
    Ok(())
}
