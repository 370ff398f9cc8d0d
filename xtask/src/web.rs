//! `cargo xtask web`: the agent's web page in a real Chromium, its metrics under the real Prometheus and its promtool.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::vm::programs::of_host;
use crate::{debian, paths, setup, toolchain};

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

/// The folder of Prometheus' programs. Unpacked under the target folder: nothing of it is installed.
pub(crate) fn prometheus() -> Result<PathBuf> {
    Ok(debian::unpacked(SUITE, PACKAGE)?.join("usr/bin"))
}
