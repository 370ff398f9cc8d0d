//! A kernel in lockdown: with integrity all works, with confidentiality the agent reports why it cannot. Lockdown
//! cannot be lifted: this is the last test of its boot.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use guest::debian::{self, UNIT, property};
use guest::{agent, command, creation, wait};
use nix::libc;

use super::{TIMEOUT, region};
use crate::debian::oversize;

const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

fn raise(level: &str) -> Result<()> {
    fs::write(LOCKDOWN, level).with_context(|| format!("cannot write {level} to {LOCKDOWN}"))
}

#[test]
fn integrity_is_no_hindrance_and_confidentiality_gets_its_line() -> Result<()> {
    let region = region()?;
    raise("integrity")?;
    // Without what the agent before has left.
    guest::guard::succeed(&["guard", "release"])?;
    debian::systemctl(&["restart", UNIT])?;
    debian::armed()?;
    let prepared = creation::prepare(&oversize(&region))?;
    let code = prepared.bind().map_err(|error| error.raw_os_error());
    ensure!(code == Err(Some(libc::ENOMEM)), "{code:?}, and no denial{}", debian::status());
    guest::guard::succeed(&["guard", "release"])?;

    raise("confidentiality")?;
    let said = command::attempt("/bin/systemctl", &["restart", UNIT])?;
    ensure!(said.code != Some(0), "it started: {}", debian::status());
    wait::until("a failed service", TIMEOUT, || (property(UNIT, "ActiveState").ok()? == "failed").then_some(()))
        .with_context(debian::status)?;
    // It cannot observe here, and trying again does not help.
    assert_eq!(property(UNIT, "ExecMainStatus")?, "4", "{}", debian::status());
    assert_eq!(property(UNIT, "NRestarts")?, "0", "{}", debian::status());
    ensure!(debian::status().contains("lockdown"), "the reason is not reported: {}", debian::status());
    let said = command::attempt(agent::PROGRAM, &["doctor"])?;
    ensure!(said.code == Some(4) && said.stdout.contains("lockdown"), "{said:?}");
    Ok(())
}
