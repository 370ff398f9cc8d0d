//! `cargo xtask web`, `alerts` and `fleet-sim`: tests of pfnwatch with real programs: Chromium, Prometheus, Alertmanager.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::process::Task;
use crate::{debian, paths, setup, toolchain};

/// The suite that Prometheus and Alertmanager come from. Nothing of them is installed.
const SUITE: &str = "bookworm";
const LIMIT: Duration = Duration::from_secs(300);
const FLEET_LIMIT: Duration = Duration::from_secs(900);

type Tested = (Result<()>, String);

/// The agent's web page in Chromium, its metrics under Prometheus and its promtool.
pub(crate) fn web() -> Tested {
    tested(LIMIT, || {
        setup::host_programs(&["chromium"])?;
        let chromium = setup::host_path("chromium").context("chromium is not there after its installation")?;
        let task = toolchain::test_program("web", &["--include-ignored"])?.env("PFNWATCH_CHROMIUM", chromium);
        Ok(task.env("PFNWATCH_PROMETHEUS", prometheus()?).env("PFNWATCH_SCREENSHOTS", screenshots()))
    })
}

pub(crate) fn screenshots() -> PathBuf {
    paths::target().join("screenshots")
}

pub(crate) fn alerts() -> Tested {
    tested(LIMIT, || {
        let task = toolchain::test_program("alertmanager", &["--include-ignored"])?;
        Ok(task.env("PFNWATCH_ALERTMANAGER", alertmanager()?))
    })
}

#[derive(clap::Args)]
pub(crate) struct FleetArgs {
    /// How many hosts
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(25..=20_000))]
    pub(crate) hosts: u32,
    /// Whether `pfnwatch fleet` is timed as a release build, which takes minutes to compile.
    #[arg(skip = true)]
    pub(crate) released: bool,
}

pub(crate) fn fleet(args: &FleetArgs) -> Tested {
    tested(FLEET_LIMIT, || {
        let task = toolchain::test_program("fleet", &["--ignored", "--nocapture"])?;
        let task = task.env("PFNWATCH_FLEET_HOSTS", args.hosts.to_string());
        let task = task.env("PFNWATCH_PROMETHEUS", prometheus()?).env("PFNWATCH_ALERTMANAGER", alertmanager()?);
        Ok(if args.released { task.env("PFNWATCH_RELEASED", paths::agent()) } else { task })
    })
}

fn tested(limit: Duration, task: impl FnOnce() -> Result<Task>) -> Tested {
    match task() {
        Ok(task) => task.limit(limit).tee(),
        Err(error) => (Err(error), String::new()),
    }
}

pub(crate) fn prometheus() -> Result<PathBuf> {
    Ok(debian::unpacked(SUITE, "prometheus")?.join("usr/bin"))
}

pub(crate) fn alertmanager_package() -> Result<PathBuf> {
    debian::unpacked(SUITE, "prometheus-alertmanager")
}

/// A program that starts Alertmanager. The path of its templates is compiled in: the script mounts them there, in its own mount namespace.
fn alertmanager() -> Result<PathBuf> {
    let folder = alertmanager_package()?;
    let program = folder.join("alertmanager");
    let script = format!(
        "#!/bin/sh\n\
         [ \"$1\" = inside ] || {{ [ \"$(id -u)\" = 0 ] && exec unshare -m \"$0\" inside \"$@\"; exec unshare -Urm \"$0\" inside \"$@\"; }}\n\
         shift\n\
         mount -t overlay overlay -o 'lowerdir={0}/usr/share:/usr/share' /usr/share || exit 1\n\
         exec '{0}/usr/bin/prometheus-alertmanager' \"$@\"\n",
        folder.display()
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755))?;
    Ok(program)
}
