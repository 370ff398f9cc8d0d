//! `cargo xtask web`: the agent's web page in a real Chromium, its metrics under the real Prometheus and its promtool.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::debian::{self, Suite};
use crate::vm::programs::of_host;
use crate::{paths, setup, toolchain};

/// Where Prometheus comes from: its package holds promtool too.
const SUITE: &str = "bookworm";
const PACKAGE: &str = "prometheus";
const LIMIT: Duration = Duration::from_secs(300);

/// Fetches what is missing, and runs the tests that need it. Returns what they said.
pub(crate) fn run() -> (Result<()>, String) {
    match tools() {
        Ok((chromium, prometheus)) => {
            let task = toolchain::workspace_task("test", &["--test", "web", "--", "--include-ignored"]);
            let task = task.env("PFNWATCH_CHROMIUM", chromium);
            let task = task.env("PFNWATCH_PROMETHEUS", prometheus).env("PFNWATCH_SCREENSHOTS", screenshots());
            task.limit(LIMIT).tee()
        }
        Err(error) => (Err(error), String::new()),
    }
}

/// Where the screenshots are left, to be looked at.
pub(crate) fn screenshots() -> PathBuf {
    paths::target().join("screenshots")
}

/// Chromium, and the folder of Prometheus' programs.
fn tools() -> Result<(PathBuf, PathBuf)> {
    setup::for_web()?;
    let chromium = of_host("chromium").context("chromium is not there after its installation")?;
    Ok((chromium, prometheus()?))
}

/// Unpacked under the target folder: nothing of it is installed.
pub(crate) fn prometheus() -> Result<PathBuf> {
    let (package, deb) = Suite::open(SUITE)?.fetch(|suite| suite.package(PACKAGE))?;
    let folder = paths::cache().join(package.file_name.trim_end_matches(".deb"));
    if !folder.join("usr/bin/promtool").is_file() {
        debian::unpack(&deb, &folder)?;
    }
    Ok(folder.join("usr/bin"))
}
