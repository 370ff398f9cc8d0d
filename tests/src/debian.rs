//! A guest that is a Debian under systemd, with pfnwatch's package: dpkg, systemctl, journalctl, and where things lie.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{agent, command, guard, regions, wait};

pub const PROGRAMS: &str = "/run/guest/bin";
pub const TESTS: &str = "/run/guest/bin/e2e";
pub const PACKAGES: &str = "/run/guest/packages";
pub const PACKAGES_IN_INITRAMFS: &str = "/packages";
pub const PACKAGE: &str = "pfnwatch.deb";
pub const NEWER: &str = "pfnwatch-newer.deb";
pub const RPM: &str = "pfnwatch.rpm";
pub const NEWER_RPM: &str = "pfnwatch-newer.rpm";
/// The program rpm with what it needs.
pub const RPM_TOOLS: &str = "rpm-tools.tar";

pub const UNIT: &str = "pfnwatch.service";
const CONFIGURATION: &str = "/etc/pfnwatch/conf.d/50-test.toml";
const UNIT_DROP_IN: &str = "/etc/systemd/system/pfnwatch.service.d/test.conf";
const TIMEOUT: Duration = Duration::from_secs(60);

/// Removes the package and the files of earlier tests, and empties the NVDIMM: returns its region.
pub fn fresh() -> Result<String> {
    if is_installed()? {
        // What a test wants is to be found by the removal as well, but not by the next test.
        command::run("/bin/dpkg", &["--purge", "pfnwatch"])?;
    }
    let _ = fs::remove_dir_all(parent(UNIT_DROP_IN));
    systemctl(&["daemon-reload"])?;
    regions::fresh_one()
}

pub fn install(package: &str) -> Result<()> {
    command::run("/bin/dpkg", &["-i", &format!("{PACKAGES}/{package}")]).map(drop)
}

pub fn is_installed() -> Result<bool> {
    Ok(!version()?.is_empty())
}

/// The version that is installed, or whose configuration is left; empty if there is none.
pub fn version() -> Result<String> {
    Ok(command::attempt("/bin/dpkg-query", &["-W", "-f", "${Version}", "pfnwatch"])?.stdout)
}

/// Writes a drop-in of the agent's configuration, for the next start or reload.
pub fn configure(text: &str) -> Result<()> {
    write(CONFIGURATION, text)
}

/// Writes a drop-in of the unit, for the next start.
pub fn configure_unit(text: &str) -> Result<()> {
    write(UNIT_DROP_IN, text)?;
    systemctl(&["daemon-reload"]).map(drop)
}

pub fn systemctl(arguments: &[&str]) -> Result<String> {
    command::run("/bin/systemctl", arguments)
}

pub fn property(unit: &str, name: &str) -> Result<String> {
    Ok(systemctl(&["show", "--property", name, "--value", unit])?.trim_end().to_owned())
}

pub fn active() -> Result<Pid> {
    let up = || Some(property(UNIT, "ActiveState").ok()? == "active").filter(|up| *up);
    wait::until("an active service", TIMEOUT, up).with_context(status)?;
    let pid = property(UNIT, "MainPID")?;
    Ok(Pid::from_raw(pid.parse().with_context(|| format!("no process id: {pid}"))?))
}

pub fn armed() -> Result<()> {
    active()?;
    let is_armed = || guard::status().ok().filter(|status| status.pointer("/guard/armed") == Some(&true.into()));
    wait::until("an armed guard", TIMEOUT, is_armed).map(drop).with_context(status)
}

pub fn journal(matches: &[&str]) -> Result<Vec<Value>> {
    let usual = ["--unit", UNIT, "--output", "json", "--no-pager", "--boot"];
    lines(&command::run("/bin/journalctl", &[&usual, matches].concat())?)
}

/// The same, with waiting: journald gets an event after it is committed to the event store.
pub fn log_lines(matches: &[&str]) -> Result<Vec<Value>> {
    let entries = || journal(matches).ok().filter(|entries| !entries.is_empty());
    wait::until(&format!("an entry with {matches:?}"), TIMEOUT, entries).with_context(status)
}

pub fn events() -> Result<Vec<Value>> {
    lines(&command::run(agent::PROGRAM, &["events", "--format", "json", "--limit", "1000000"])?)
}

pub fn event(what: &str, accept: impl Fn(&Value) -> bool) -> Result<Value> {
    let found = wait::until(what, TIMEOUT, || events().ok()?.into_iter().find(&accept));
    found.with_context(status)
}

pub fn status() -> String {
    let said = command::attempt("/bin/systemctl", &["status", "--no-pager", "--full", "--lines", "40", UNIT]);
    said.map_or_else(|error| format!("{error:#}"), |said| format!("\n{}{}", said.stdout, said.stderr))
}

fn lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}

fn write(file: &str, text: &str) -> Result<()> {
    fs::create_dir_all(parent(file)).with_context(|| format!("no folder for {file}"))?;
    fs::write(file, text).with_context(|| format!("cannot write {file}"))
}

fn parent(file: &str) -> &Path {
    Path::new(file).parent().unwrap_or(Path::new("/"))
}
