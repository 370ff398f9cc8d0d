//! `cargo xtask alerts`: alerts against a real Alertmanager.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{debian, toolchain};

const SUITE: &str = "bookworm";
const PACKAGE: &str = "prometheus-alertmanager";
const LIMIT: Duration = Duration::from_secs(300);

/// Fetches Alertmanager where it is missing, and runs the tests that need it. Returns what they said.
pub(crate) fn run() -> (Result<()>, String) {
    match provide() {
        Ok(program) => {
            let task = toolchain::workspace_task("test", &["--test", "alertmanager", "--", "--include-ignored"]);
            task.env("PFNWATCH_ALERTMANAGER", program).limit(LIMIT).tee()
        }
        Err(error) => (Err(error), String::new()),
    }
}

/// Its package, unpacked: nothing of it is installed.
pub(crate) fn unpacked() -> Result<PathBuf> {
    debian::unpacked(SUITE, PACKAGE)
}

/// A program that starts it.
pub(crate) fn provide() -> Result<PathBuf> {
    let folder = unpacked()?;
    let program = folder.join("alertmanager");
    let written = fs::write(&program, script(&folder));
    written.with_context(|| format!("cannot write {}", program.display()))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

/// Debian's Alertmanager has the place of its templates built in: it gets it, in a mount namespace of its own.
fn script(folder: &Path) -> String {
    format!(
        "#!/bin/sh\n\
         [ \"$1\" = inside ] || {{ [ \"$(id -u)\" = 0 ] && exec unshare -m \"$0\" inside \"$@\"; exec unshare -Urm \"$0\" inside \"$@\"; }}\n\
         shift\n\
         mount -t overlay overlay -o 'lowerdir={0}/usr/share:/usr/share' /usr/share || exit 1\n\
         exec '{0}/usr/bin/prometheus-alertmanager' \"$@\"\n",
        folder.display()
    )
}
