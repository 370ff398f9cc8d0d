//! The RPM, with rpm itself: installed, upgraded, removed. The host is a Debian all the same: no guest has another distribution.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use guest::command;
use guest::debian::{self, NEWER_RPM, PACKAGES, RPM, RPM_TOOLS, UNIT, property};

use super::{ENFORCE_AND_HOLD, oversize};
use crate::guard::fixtures::{nothing_is_written, prepare_blank};

const RPM_PROGRAM: &str = "/usr/bin/rpm";
const CONFIGURATION: &str = "/etc/pfnwatch/pfnwatch.toml";

/// Debian's rpm keeps it in the home folder of who calls it. It does not know the packages of Debian.
const DATABASE: &str = "/var/lib/rpm";

fn rpm(action: &str, what: &str) -> Result<()> {
    command::run(RPM_PROGRAM, &["--dbpath", DATABASE, action, "--nodeps", what]).map(drop)
}

fn version() -> Result<String> {
    command::run(RPM_PROGRAM, &["--dbpath", DATABASE, "-q", "--queryformat", "%{VERSION}", "pfnwatch"])
}

/// What is left on purpose, and would be somebody else's to the tests of the Debian package.
struct Leftovers;

impl Drop for Leftovers {
    fn drop(&mut self) {
        let _ = rpm("-e", "pfnwatch");
        let _ = command::attempt("/usr/sbin/groupdel", &["pfnwatch"]);
        for folder in ["/etc/pfnwatch", "/var/lib/pfnwatch", DATABASE] {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

#[test]
fn package_is_installed_upgraded_and_removed() -> Result<()> {
    let region = debian::fresh()?;
    command::run("/bin/tar", &["-xf", &format!("{PACKAGES}/{RPM_TOOLS}"), "-C", "/"])?;
    let _leftovers = Leftovers;
    rpm("-i", &format!("{PACKAGES}/{RPM}"))?;
    let older = version()?;
    // Debian's presets enable every service; no distribution with rpm starts one by itself.
    assert_eq!(
        (property(UNIT, "UnitFileState")?.as_str(), property(UNIT, "ActiveState")?.as_str()),
        ("enabled", "inactive")
    );
    assert_eq!(command::run("/bin/getent", &["group", "pfnwatch"])?.split(':').next(), Some("pfnwatch"));
    let changed = fs::read_to_string(CONFIGURATION)? + "\n# changed\n";
    fs::write(CONFIGURATION, &changed)?;
    debian::configure(ENFORCE_AND_HOLD)?;
    debian::systemctl(&["start", UNIT])?;
    let process = debian::active()?;
    debian::armed()?;
    let prepared = prepare_blank(&oversize(&region))?;
    ensure!(prepared.bind().is_err(), "an oversize creation was allowed{}", debian::status());

    rpm("-U", &format!("{PACKAGES}/{NEWER_RPM}"))?;
    ensure!(version()? != older, "{older} is still installed");
    ensure!(fs::read_to_string(CONFIGURATION)? == changed, "the configuration was replaced");
    ensure!(debian::active()? != process, "the agent was not restarted{}", debian::status());
    debian::armed()?;
    ensure!(prepared.bind().is_err(), "an oversize creation was allowed{}", debian::status());
    nothing_is_written(&prepared.namespace)?;

    rpm("-e", "pfnwatch")?;
    for gone in ["/usr/bin/pfnwatch", "/usr/lib/systemd/system/pfnwatch.service", "/sys/fs/bpf/pfnwatch", CONFIGURATION]
    {
        ensure!(!Path::new(gone).exists(), "{gone} is left");
    }
    let saved = fs::read_to_string(format!("{CONFIGURATION}.rpmsave")).context("what was changed was not saved")?;
    ensure!(saved == changed, "{saved}");
    assert_eq!(property(UNIT, "ActiveState")?, "inactive");
    Ok(())
}
