//! QEMU, in a version that does not corrupt its guests.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::host;
use crate::process::Task;

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
/// QEMU 7.2 breaks cmpxchg16b under TCG: one boot in six of Linux 6.12 ended in an oops. 10.0.2 never did.
const MIN_MAJOR: u32 = 10;

/// Installs QEMU where it is missing or too old, and refuses one that is too old still.
pub(super) fn ensure() -> Result<()> {
    if version().is_some_and(|major| major >= MIN_MAJOR) {
        return Ok(());
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    host::install(&[PACKAGE], backports(&release))?;
    let major = version().with_context(|| format!("`{PROGRAM} --version` names no version after its installation"))?;
    ensure!(
        major >= MIN_MAJOR,
        "QEMU {major} is too old: below {MIN_MAJOR} it corrupts guests under emulation; install {MIN_MAJOR} or newer \
         (Debian 13 has it, Debian 12 has it in bookworm-backports)"
    );
    Ok(())
}

/// The suite that has a new enough QEMU where the host's own release has not.
fn backports(os_release: &str) -> Option<&'static str> {
    os_release.lines().any(|line| line == "VERSION_CODENAME=bookworm").then_some("bookworm-backports")
}

fn version() -> Option<u32> {
    host::has(PROGRAM).then(|| Task::new(PROGRAM, ["--version"]).read().ok()).flatten().and_then(|said| major(&said))
}

/// `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)` is 10.
fn major(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("version ")?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_version() {
        assert_eq!(major("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2~bpo12+1)\nCopyright"), Some(10));
        assert_eq!(major("QEMU emulator version 7.2.17"), Some(7));
        assert_eq!(major("no such thing"), None);
    }

    #[test]
    fn only_bookworm_needs_backports() {
        assert_eq!(backports("ID=debian\nVERSION_CODENAME=bookworm\n"), Some("bookworm-backports"));
        assert_eq!(backports("ID=debian\nVERSION_CODENAME=trixie\n"), None);
    }
}
