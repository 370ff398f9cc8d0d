//! systemd kills and restarts an agent that hangs, and the next one finds what happened meanwhile.

use std::time::Duration;

use anyhow::{Context as _, Result};
use guest::debian::{self, PACKAGE, UNIT, property};
use guest::{creation, wait};
use nix::sys::signal::{Signal, kill};

use super::{is_about, oversize};

/// The agent notifies the watchdog twice in this time. A shorter one would kill a healthy agent on a busy machine.
const UNIT_DROP_IN: &str = "[Service]\nWatchdogSec=20s\nRestartSec=100ms\n";
const TIMEOUT: Duration = Duration::from_secs(120);

#[test]
fn agent_that_stands_still_is_replaced_and_nothing_is_lost() -> Result<()> {
    let region = debian::fresh()?;
    debian::configure_unit(UNIT_DROP_IN)?;
    debian::install(PACKAGE)?;
    let before = creation::create(&oversize(&region))?;
    let stalled = debian::active()?;
    kill(stalled, Signal::SIGSTOP).context("the agent cannot be stopped")?;
    let meanwhile = creation::create(&oversize(&region))?;
    wait::until("a restart", TIMEOUT, || (property(UNIT, "NRestarts").ok()? == "1").then_some(()))
        .with_context(debian::status)?;
    let pid = debian::active()?;
    assert_ne!(pid, stalled);
    for made in [before, meanwhile] {
        debian::event(&format!("what became of {made:?}"), |event| {
            is_about(event, &["set_up", "existing_namespace"], &made)
        })?;
    }
    let after = creation::create(&oversize(&region))?;
    debian::event("a set-up", |event| is_about(event, &["set_up"], &after))?;
    // Once, and not again and again.
    assert_eq!(property(UNIT, "NRestarts")?, "1", "{}", debian::status());
    Ok(())
}
