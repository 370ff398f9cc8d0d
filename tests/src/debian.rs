//! A guest that is a Debian under systemd, with pfnwatch's package: dpkg, systemctl, journalctl, and where things lie.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{agent, command, guard, regions, wait};

/// The folder of the tests' own programs.
pub const PROGRAMS: &str = "/run/guest/bin";
/// The compiled tests.
pub const TESTS: &str = "/run/guest/bin/e2e";
/// The folder of pfnwatch's packages.
pub const PACKAGES: &str = "/run/guest/packages";
/// The same in the guest's initramfs.
pub const PACKAGES_IN_INITRAMFS: &str = "/packages";
/// The package as it was built, in that folder.
pub const PACKAGE: &str = "pfnwatch.deb";
/// The same with a higher version.
pub const NEWER: &str = "pfnwatch-newer.deb";

/// The unit that the package brings.
pub const UNIT: &str = "pfnwatch.service";
/// A drop-in of the agent's configuration.
const CONFIGURATION: &str = "/etc/pfnwatch/conf.d/50-test.toml";
/// Where a drop-in of the unit lies.
const UNIT_DROP_IN: &str = "/etc/systemd/system/pfnwatch.service.d/test.conf";
/// From the start of the service to its `ready`, and the like.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Removes the package with all that tests have put beside it, and empties the NVDIMM: returns its region.
pub fn fresh() -> Result<String> {
    if is_installed()? {
        // What a test wants is to be found by the removal as well, but not by the next test.
        command::run("/bin/dpkg", &["--purge", "pfnwatch"])?;
    }
    let _ = fs::remove_dir_all(parent(UNIT_DROP_IN));
    systemctl(&["daemon-reload"])?;
    regions::fresh_one()
}

/// Installs a package of the folder, as people do.
pub fn install(package: &str) -> Result<()> {
    command::run("/bin/dpkg", &["-i", &format!("{PACKAGES}/{package}")]).map(drop)
}

/// Whether dpkg has anything of the package, its configuration included.
pub fn is_installed() -> Result<bool> {
    Ok(!version()?.is_empty())
}

/// The version that is installed, or whose configuration is left; empty where there is none.
pub fn version() -> Result<String> {
    Ok(command::attempt("/bin/dpkg-query", &["-W", "-f", "${Version}", "pfnwatch"])?.stdout)
}

/// Writes a drop-in of the agent's configuration: it holds from the next start or reload on.
pub fn configure(text: &str) -> Result<()> {
    write(CONFIGURATION, text)
}

/// Writes a drop-in of the unit: it holds from the next start on.
pub fn configure_unit(text: &str) -> Result<()> {
    write(UNIT_DROP_IN, text)?;
    systemctl(&["daemon-reload"]).map(drop)
}

/// Runs systemctl, which must end well.
pub fn systemctl(arguments: &[&str]) -> Result<String> {
    command::run("/bin/systemctl", arguments)
}

/// A property of a unit.
pub fn property(unit: &str, name: &str) -> Result<String> {
    Ok(systemctl(&["show", "--property", name, "--value", unit])?.trim_end().to_owned())
}

/// Waits until the service is up; its main process.
pub fn active() -> Result<Pid> {
    let up = || Some(property(UNIT, "ActiveState").ok()? == "active").filter(|up| *up);
    wait::until("an active service", TIMEOUT, up).with_context(status)?;
    let pid = property(UNIT, "MainPID")?;
    Ok(Pid::from_raw(pid.parse().with_context(|| format!("no process id: {pid}"))?))
}

/// Waits until the service's guard judges.
pub fn armed() -> Result<()> {
    active()?;
    let is_armed = || guard::status().ok().filter(|status| status.pointer("/guard/armed") == Some(&true.into()));
    wait::until("an armed guard", TIMEOUT, is_armed).map(drop).with_context(status)
}

/// The entries of the service in the system's journal that match, as `journalctl --output=json` has them.
pub fn journal(matches: &[&str]) -> Result<Vec<Value>> {
    let usual = ["--unit", UNIT, "--output", "json", "--no-pager", "--boot"];
    lines(&command::run("/bin/journalctl", &[&usual, matches].concat())?)
}

/// The same, once there is one: journald is told of an event after it is committed to pfnwatch's own event store.
pub fn log_lines(matches: &[&str]) -> Result<Vec<Value>> {
    let entries = || journal(matches).ok().filter(|entries| !entries.is_empty());
    wait::until(&format!("an entry with {matches:?}"), TIMEOUT, entries).with_context(status)
}

/// The events of pfnwatch's own event store.
pub fn events() -> Result<Vec<Value>> {
    lines(&command::run(agent::PROGRAM, &["events", "--format", "json", "--limit", "1000000"])?)
}

/// Waits for an event of pfnwatch's own event store that is accepted.
pub fn event(what: &str, accept: impl Fn(&Value) -> bool) -> Result<Value> {
    let found = wait::until(what, TIMEOUT, || events().ok()?.into_iter().find(&accept));
    found.with_context(status)
}

/// How the service stands and what it said last, for an error.
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
