//! Namespaces made by a kernel with the regression, and then carried to one without: the loss stays.
//!
//! Two machines, one after the other, have the same NVDIMMs. The first test is the last, by its name, on the first.

use std::time::Duration;

use anyhow::{Context as _, Result};
use guest::agent::{Agent, has_text};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::guard::Guard;
use guest::pfnwatch::{ensure_contains, row, running_kernel, scan};
use guest::policy::{GuardMode, Policy};
use guest::{GIB, MIB, modules, namespace, regions, sysfs, wait};
use serde_json::json;

use crate::set_up_events::{created, set_up_of_existing};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Under enforce, as at a boot: the agent starts first. All of them can be enabled.
#[test]
fn is_enabled_under_enforce_on_the_stock_kernel() -> Result<()> {
    let mut guard = Guard::spawn(&Policy::default_audit(GuardMode::Enforce), &[])?;
    modules::load_stack()?;
    let namespaces = regions::namespaces(&regions::find()?.first)?;
    assert_eq!(namespaces.len(), CARRIED.len(), "what the first machine made is not there: {namespaces:?}");
    guard.armed()?;
    for name in &namespaces {
        // As the machine came up, and again under a guard that judges.
        wait::until(&format!("{name} enabled"), TIMEOUT, || sysfs::driver(&namespace::holder(name).ok()?))
            .with_context(|| guard.output())?;
        namespace::disable(name)?;
        namespace::enable(name).with_context(|| guard.output())?;
        set_up_of_existing(&mut guard, name)?;
    }
    // As it was, for the test after this one.
    modules::unload_stack()?;
    guard.was_silent()
}

const CARRIED: [(Mode, Map, u64); 3] =
    [(Mode::Fsdax, Map::Dev, GIB), (Mode::Devdax, Map::Dev, 2 * GIB), (Mode::Fsdax, Map::Mem, GIB)];

#[test]
fn is_made_on_the_regressed_kernel() -> Result<()> {
    let regions = regions::fresh()?;
    for (mode, map, size_bytes) in CARRIED {
        creation::create(&NamespaceSpec { map, ..NamespaceSpec::new(&regions.first, mode, size_bytes) })?;
    }
    Ok(())
}

#[test]
fn is_found_on_the_stock_kernel() -> Result<()> {
    // The agent is there before the drivers, so that it sees the namespaces being enabled.
    let mut agent = Agent::start(&[])?;
    modules::load("libnvdimm")?;
    agent.event("the agent observing", TIMEOUT, |event| has_text(event, "state", "observing").then_some(()))?;
    modules::load_stack()?;
    let regions = regions::find()?;
    ensure_contains(&running_kernel(0)?, &json!({ "verdict": "ok", "max_struct_page_bytes": 64, "conflicts": [] }))?;
    let mut namespaces = regions::namespaces(&regions.first)?;
    namespaces.sort_by_key(|name| sysfs::number(name, "resource").unwrap_or_default());
    assert_eq!(namespaces.len(), CARRIED.len(), "what the first machine made is not there: {namespaces:?}");
    let mut expected = Vec::new();
    for (namespace, (_, map, size)) in namespaces.iter().zip(CARRIED) {
        // 128 and 64 bytes for each page of 4 KiB, and the head's 8 KiB, up to 2 MiB.
        let (verdict, reservation, ideal) = match map {
            Map::Dev => ("oversize", size / 32 + 2 * MIB, size / 64 + 2 * MIB),
            Map::Mem => ("ok", 2 * MIB, 2 * MIB),
        };
        let mut said = json!({
            "verdict": verdict, "reservation_bytes": reservation, "ideal_bytes": ideal,
            "excess_bytes": reservation - ideal, "size_bytes": size,
        });
        if map == Map::Dev {
            (said["cause"], said["class"]) = ("regressed_kernel".into(), "A".into());
        }
        let event = set_up_of_existing(&mut agent, namespace)?;
        ensure_contains(&event, &said)?;
        ensure_contains(&event, &json!({ "page_struct_size_bytes": 128, "struct_page_size_bytes": 64 }))?;
        expected.push((namespace, said));
    }
    let scan = scan(3)?;
    assert_eq!(scan["totals"]["oversize"], 2, "{scan:#}");
    for (namespace, said) in expected {
        ensure_contains(row(&scan, namespace)?, &said)?;
    }
    // What this kernel makes itself is as it should be.
    let wanted = NamespaceSpec::new(&regions.second, Mode::Fsdax, GIB);
    let (_, event) = created(&mut agent, &wanted)?;
    ensure_contains(&event, &json!({ "verdict": "ok", "page_struct_size_bytes": 64, "reservation_bytes": 18 * MIB }))
}
