//! On the same kernel with the parameter `page_struct_override`, which an early version of the upstream patch proposed.

use anyhow::Result;
use guest::agent::Agent;
use guest::creation::{Mode, NamespaceSpec};
use guest::pfnwatch::{ensure_contains, row, running_kernel, scan};
use guest::{GIB, MIB, regions};
use serde_json::json;

use crate::set_up_events::created;

#[test]
fn map_dev_reserves_what_a_struct_page_takes() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    for mode in [Mode::Fsdax, Mode::Devdax] {
        let wanted = NamespaceSpec::new(&regions.first, mode, GIB);
        let (made, event) = created(&mut agent, &wanted)?;
        ensure_contains(&event, &json!({ "outcome": "enabled", "page_struct_size_bytes": 64 }))?;
        let expected = json!({ "verdict": "ok", "reservation_bytes": 18 * MIB, "excess_bytes": 0 });
        ensure_contains(&event, &expected)?;
        ensure_contains(row(&scan(0)?, &made.namespace)?, &expected)?;
    }
    Ok(())
}

#[test]
fn the_running_kernel_explains_it() -> Result<()> {
    regions::fresh()?;
    let expected = json!({
        "verdict": "ok", "max_struct_page_bytes": 32, "overridden_struct_page_bytes": 64, "page_struct_override": true,
    });
    ensure_contains(&running_kernel(0)?, &expected)
}
