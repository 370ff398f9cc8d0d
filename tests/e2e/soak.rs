//! Everything by chance, for a while: see `guest::soak`.

use anyhow::Result;
use guest::boot_config::BootConfig;
use guest::soak;

#[test]
fn the_event_store_says_what_was_done() -> Result<()> {
    soak::run(BootConfig::read()?.soak)
}
