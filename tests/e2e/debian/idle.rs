//! A host without persistent memory: the service is up, waits, and is started once.

use anyhow::Result;
use guest::agent::says;
use guest::creation;
use guest::debian::{self, PACKAGE, UNIT, property};
use guest::modules;

use super::oversize;

#[test]
fn is_ready_without_persistent_memory_and_sees_what_comes_later() -> Result<()> {
    debian::fresh()?;
    modules::unload_stack()?;
    debian::install(PACKAGE)?;
    debian::active()?;
    debian::event("that it is idle", |event| says(event, "event", "ready") && says(event, "state", "idle"))?;

    modules::load_regions(1)?;
    let region = guest::sysfs::devices("region").swap_remove(0);
    let made = creation::create(&oversize(&region))?;
    debian::event("a set-up", |event| {
        says(event, "event", "set_up") && says(event, "namespace_uuid", &made.namespace_uuid)
    })?;
    assert_eq!(property(UNIT, "NRestarts")?, "0", "{}", debian::status());
    Ok(())
}
