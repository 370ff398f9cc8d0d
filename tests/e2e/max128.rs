//! On a kernel with the regression: MAX_STRUCT_PAGE_SIZE = 128.

use anyhow::{Context as _, Result, ensure};
use guest::agent::Agent;
use guest::creation::{Map, Mode, NamespaceSpec};
use guest::infoblock::InfoBlock;
use guest::pfnwatch::{ensure_contains, report, row, running_kernel, scan};
use guest::{GIB, MIB, command, formula, ndctl, regions, sysfs};
use serde_json::{Value, json};

use crate::set_up_events::{created, set_up_of_existing};

#[test]
fn the_running_kernel_is_regressed() -> Result<()> {
    regions::fresh()?;
    let kernel = running_kernel(3)?;
    ensure_contains(&kernel, &json!({ "verdict": "regressed", "max_struct_page_bytes": 128, "conflicts": [] }))?;
    let sources: Vec<&Value> =
        kernel["evidence"].as_array().context("no list")?.iter().map(|evidence| &evidence["source"]).collect();
    assert_eq!(sources, ["running code", "module file"], "{kernel:#}");
    Ok(())
}

fn charged(start: u64, wanted: &NamespaceSpec) -> Value {
    let of = |struct_page| formula::reservation(start, wanted.size_bytes, wanted.align_bytes, struct_page);
    let (reservation, ideal) = (of(128), of(64));
    let excess = reservation - ideal;
    // Both thresholds: more than one align, and more than a thousandth of the namespace.
    let oversize = excess > wanted.align_bytes.max(2 * MIB) && excess * 1000 > wanted.size_bytes;
    let mut charged = json!({
        "verdict": if oversize { "oversize" } else { "ok" },
        "reservation_bytes": reservation, "ideal_bytes": ideal, "excess_bytes": excess,
    });
    if let (true, Some(charged)) = (excess > 0, charged.as_object_mut()) {
        charged.extend([("cause".to_owned(), json!("regressed_kernel")), ("class".to_owned(), json!("A"))]);
    }
    charged
}

#[test]
fn every_map_dev_creation_is_charged_to_the_byte() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let cases = [
        // Size, align, and the observed reservation if it follows from align and base alone.
        (Mode::Fsdax, &regions.first, 4 * GIB, 2 * MIB, Some(136_314_880)),
        (Mode::Devdax, &regions.first, GIB, 2 * MIB, Some(35_651_584)),
        (Mode::Fsdax, &regions.first, 64 * MIB, 2 * MIB, Some(4_194_304)),
        (Mode::Devdax, &regions.first, 32 * MIB, 2 * MIB, Some(2_097_152)),
        (Mode::Fsdax, &regions.first, 16 * MIB, 2 * MIB, Some(2_097_152)),
        (Mode::Devdax, &regions.first, 3 * GIB + 48 * MIB, GIB, None),
        (Mode::Fsdax, &regions.second, 1008 * MIB, 4096, None),
        (Mode::Devdax, &regions.second, 2 * GIB + 16 * MIB, 4096, None),
    ];
    let (mut expected, mut oversize) = (Vec::new(), 0);
    for (mode, region, size_bytes, align_bytes, seen) in cases {
        let wanted = NamespaceSpec { align_bytes, ..NamespaceSpec::new(region, mode, size_bytes) };
        let (made, event) = created(&mut agent, &wanted)?;
        let charged = charged(sysfs::number(&made.namespace, "resource")?, &wanted);
        ensure!(seen.is_none_or(|seen| charged["reservation_bytes"] == seen), "{wanted:?}: {charged}");
        ensure_contains(
            &event,
            &json!({ "page_struct_size_bytes": 128, "evidence": "observed", "outcome": "enabled" }),
        )?;
        ensure_contains(&event, &charged).with_context(|| format!("{wanted:?}"))?;
        ensure!(charged["excess_bytes"] != 0 || event["class"] != "A", "nothing is lost to the kernel: {event}");
        oversize += u64::from(charged["verdict"] == "oversize");
        expected.push((made.namespace, charged));
    }
    let scan = scan(3)?;
    assert_eq!((oversize, &scan["totals"]["oversize"]), (4, &json!(4)), "{:#}", scan["totals"]);
    for (namespace, charged) in expected {
        ensure_contains(row(&scan, &namespace)?, &charged)?;
    }
    Ok(())
}

#[test]
fn map_mem_is_ok() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    for (mode, align_bytes) in [(Mode::Fsdax, 2 * MIB), (Mode::Devdax, 2 * MIB), (Mode::Devdax, GIB)] {
        let wanted = NamespaceSpec { map: Map::Mem, align_bytes, ..NamespaceSpec::new(&regions.first, mode, 2 * GIB) };
        let (made, event) = created(&mut agent, &wanted)?;
        let expected = json!({ "verdict": "ok", "map": "mem", "excess_bytes": 0 });
        ensure_contains(&event, &expected)?;
        ensure_contains(row(&scan(0)?, &made.namespace)?, &expected)?;
    }
    Ok(())
}

#[test]
fn sixteen_gib_at_align_1g_cost_nothing() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let wanted = NamespaceSpec { align_bytes: GIB, ..NamespaceSpec::new(&regions.first, Mode::Devdax, 16 * GIB) };
    let (made, event) = created(&mut agent, &wanted)?;
    let expected = json!({ "verdict": "ok", "reservation_bytes": GIB, "ideal_bytes": GIB, "excess_bytes": 0 });
    ensure_contains(&event, &json!({ "page_struct_size_bytes": 128 }))?;
    ensure_contains(&event, &expected)?;
    ensure_contains(row(&scan(0)?, &made.namespace)?, &expected)
}

/// The commands of the way that has a word in them, as a script.
fn way(plan: &Value, word: &str) -> Result<String> {
    let ways = plan.pointer("/steps/0/ways").and_then(Value::as_array).context("a plan without ways")?;
    let commands = ways.iter().filter_map(|way| way["commands"].as_array());
    let mut commands = commands.map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"));
    commands.find(|script| script.contains(word)).with_context(|| format!("no way with {word}: {plan:#}"))
}

#[test]
fn the_plans_own_commands_make_a_lean_namespace() -> Result<()> {
    let regions = regions::fresh()?;
    let made = ndctl::create(&regions.first, &["-m", "fsdax", "-M", "dev", "-a", "2M", "-s", "1G"])?;
    let namespace = ndctl::text(&made, "dev")?;
    ensure_contains(
        row(&scan(3)?, namespace)?,
        &json!({ "cause": "regressed_kernel", "reservation_bytes": 34 * MIB }),
    )?;
    let plan = report(3, &["plan", namespace])?;
    ensure_contains(&plan, &json!({ "max_struct_page_size_bytes": 128, "excess_bytes": 16 * MIB }))?;
    let mut agent = Agent::start(&[])?;
    // The last command looks at pfnwatch's report with jq, as is done below.
    let script = way(&plan, "write-infoblock")?.replace("pfnwatch scan", "# pfnwatch scan");
    let without_checks = command::attempt("/bin/sh", &["-c", &format!("cd /tmp; {script}")])?;
    ensure!(without_checks.code == Some(127), "it ran without the checks: {without_checks:?}");
    let checks = plan["checks"].as_str().context("no checks")?;
    command::run("/bin/sh", &["-c", &format!("cd /tmp\n{checks}\n{script}")])?;
    let expected = json!({ "verdict": "ok", "reservation_bytes": 18 * MIB, "excess_bytes": 0, "align_bytes": 2 * MIB });
    ensure_contains(row(&scan(0)?, namespace)?, &expected)?;
    let event = set_up_of_existing(&mut agent, namespace)?;
    ensure_contains(&event, &expected)?;
    ensure_contains(&event, &json!({ "page_struct_size_bytes": 64, "usable_bytes": GIB - 18 * MIB }))?;
    assert_eq!(InfoBlock::read(namespace)?.page_struct_size(), 64);
    Ok(())
}
