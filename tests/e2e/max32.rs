//! On a kernel whose `sizeof(struct page)` is above its MAX_STRUCT_PAGE_SIZE (32 here; memory debugging does the same):
//! it refuses map=dev.

use anyhow::{Result, ensure};
use guest::agent::Agent;
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::pfnwatch::{ensure_contains, report, running_kernel, scan};
use guest::{GIB, regions};
use serde_json::json;

use crate::set_up_events::created;

#[test]
fn map_dev_is_refused_with_its_reason() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    for mode in [Mode::Fsdax, Mode::Devdax] {
        let wanted = NamespaceSpec::new(&regions.first, mode, GIB);
        let prepared = creation::prepare(&wanted)?;
        ensure!(prepared.bind().is_err(), "{wanted:?}: the kernel took it");
        let event = agent.set_up(&prepared.namespace_uuid, "none")?;
        let expected = json!({
            "outcome": "refused", "setup_code": -22, "map": "dev", "verdict": "refused", "struct_page_size_bytes": 64,
        });
        ensure_contains(&event, &expected)?;
        let meaning = event["meaning"].as_str().unwrap_or_default();
        ensure!(meaning.contains("EINVAL") && meaning.contains("struct page is larger"), "{meaning}");
        ensure!(!meaning.contains("alignment"), "not the one reason alone: {meaning}");
        regions::fresh()?;
    }
    Ok(())
}

#[test]
fn map_mem_is_not() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let wanted = NamespaceSpec { map: Map::Mem, ..NamespaceSpec::new(&regions.second, Mode::Devdax, GIB) };
    let (_, event) = created(&mut agent, &wanted)?;
    ensure_contains(&event, &json!({ "outcome": "enabled", "verdict": "ok", "page_struct_size_bytes": 32 }))?;
    scan(0).map(drop)
}

#[test]
fn the_running_kernel_says_so() -> Result<()> {
    regions::fresh()?;
    let expected = json!({ "verdict": "refuses_map_dev", "max_struct_page_bytes": 32, "struct_page_bytes": 64 });
    ensure_contains(&running_kernel(0)?, &expected)?;
    let prediction = report(0, &["predict", "--size", "1GiB"])?;
    ensure!(prediction.to_string().contains("refused"), "{prediction:#}");
    Ok(())
}
