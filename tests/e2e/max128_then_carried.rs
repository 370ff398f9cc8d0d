//! Namespaces made by a kernel with the regression, and then carried to one without: the loss stays.
//!
//! Two machines, one after the other, have the same NVDIMMs. The first test is the last, by its name, on the first.

use anyhow::Result;
use guest::agent::Agent;
use guest::creation::{self, Map, Mode, Wanted};
use guest::pfnwatch::{ensure_says, row, running_kernel, scan};
use guest::{modules, regions, sysfs};
use serde_json::json;

use crate::seen::{GIB, MIB, created, met};

/// The namespaces: what they are, and what is said of them later.
const CARRIED: [(Mode, Map, u64, &str); 3] = [
    (Mode::Fsdax, Map::Dev, GIB, "regressed_kernel"),
    (Mode::Devdax, Map::Dev, 2 * GIB, "regressed_kernel"),
    (Mode::Fsdax, Map::Mem, GIB, "none"),
];

#[test]
fn is_made_on_the_regressed_kernel() -> Result<()> {
    let regions = regions::fresh()?;
    for (mode, map, size_bytes, _) in CARRIED {
        creation::create(&Wanted { region: regions.first.clone(), size_bytes, mode, map, align_bytes: 2 * MIB })?;
    }
    Ok(())
}

#[test]
fn is_found_on_the_stock_kernel() -> Result<()> {
    // The agent is there first, as on a host that boots.
    let mut agent = Agent::start(&[])?;
    modules::load_stack()?;
    let regions = regions::find()?;
    ensure_says(&running_kernel(0)?, &json!({ "verdict": "ok", "max_struct_page_bytes": 64, "conflicts": [] }))?;
    let mut namespaces = regions::namespaces(&regions.first)?;
    namespaces.sort_by_key(|name| sysfs::number(name, "resource").unwrap_or_default());
    assert_eq!(namespaces.len(), CARRIED.len(), "what the first machine made is not there: {namespaces:?}");
    let scan = scan(3)?;
    assert_eq!(scan["totals"]["oversize"], 2, "{scan:#}");
    for (namespace, (_, map, size, cause)) in namespaces.iter().zip(CARRIED) {
        let event = met(&mut agent, namespace)?;
        let (reservation, ideal) = match map {
            Map::Dev => (size / 32 + 2 * MIB, size / 64 + 2 * MIB),
            Map::Mem => (2 * MIB, 2 * MIB),
        };
        let verdict = if map == Map::Dev { "oversize" } else { "ok" };
        let expected = json!({
            "verdict": verdict, "cause": cause, "reservation_bytes": reservation, "ideal_bytes": ideal,
            "excess_bytes": reservation - ideal, "size_bytes": size,
        });
        ensure_says(&event, &expected)?;
        ensure_says(&event, &json!({ "page_struct_size_bytes": 128, "struct_page_size_bytes": 64 }))?;
        ensure_says(row(&scan, namespace)?, &expected)?;
    }
    // What this kernel makes itself is as it should be.
    let wanted =
        Wanted { region: regions.second, size_bytes: GIB, mode: Mode::Fsdax, map: Map::Dev, align_bytes: 2 * MIB };
    let (_, event) = created(&mut agent, &wanted)?;
    ensure_says(&event, &json!({ "verdict": "ok", "page_struct_size_bytes": 64, "reservation_bytes": 18 * MIB }))
}
