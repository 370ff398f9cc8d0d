//! A host without persistent memory: the service is up, waits, and is started once.

use anyhow::Result;
use guest::agent::says;
use guest::debian::{self, PACKAGE, UNIT, property};
use guest::{creation, modules, sysfs};

use super::{is_about, oversize};

#[test]
fn is_ready_without_persistent_memory_and_sees_what_comes_later() -> Result<()> {
    debian::fresh()?;
    modules::unload_stack()?;
    debian::install(PACKAGE)?;
    debian::active()?;
    debian::event("that it is idle", |event| says(event, "event", "ready") && says(event, "state", "idle"))?;

    modules::load_regions(1)?;
    debian::event("that it observes", |event| says(event, "event", "ready") && says(event, "state", "observing"))?;
    let region = sysfs::devices("region").swap_remove(0);
    let made = creation::create(&oversize(&region))?;
    debian::event("a set-up", |event| is_about(event, &["set_up"], &made))?;
    assert_eq!(property(UNIT, "NRestarts")?, "0", "{}", debian::status());
    Ok(())
}
