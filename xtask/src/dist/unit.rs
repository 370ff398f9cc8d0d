//! The service, as systemd itself judges it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::Task;
use crate::setup::host_has;
use crate::{paths, progress};

const UNIT: &str = "pfnwatch.service";

/// The exposure that `systemd-analyze security` of systemd 252 finds, times ten (docs/install.md names it): no change may raise it unseen.
const MAX_EXPOSURE: &str = "36";

/// Has systemd read the unit, and say how much it is exposed. Where there is no systemd, says so and does nothing.
///
/// # Errors
/// systemd does not understand something, or the unit is more exposed than it was.
pub(super) fn check() -> Result<()> {
    if !host_has("systemd-analyze") {
        progress::note("the unit was not verified: this host has no systemd-analyze");
        return Ok(());
    }
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let unit =
        fs::read_to_string(paths::root().join("pfnwatch/dist/systemd").join(UNIT)).context("the unit is missing")?;
    let binary = paths::target().join("release/pfnwatch");
    let here = unit.replace("ExecStart=/usr/bin/pfnwatch", &format!("ExecStart={}", binary.display()));
    fs::write(folder.path().join(UNIT), here).context("cannot write the unit")?;
    let task = |arguments: &[&str]| {
        let arguments = arguments.iter().chain(&[UNIT]);
        Task::new("systemd-analyze", arguments).dir(folder.path()).env("LC_ALL", "C").limit(Duration::from_secs(60))
    };
    let said = task(&["verify", "--man=no"]).read_stderr()?;
    ensure!(!said.contains(UNIT), "systemd-analyze verify says:\n{said}");
    let threshold = format!("--threshold={MAX_EXPOSURE}");
    task(&["security", "--offline=yes", "--no-pager", &threshold]).read().map(drop)
}
