//! Debian packages that the tests use on the host. They are the only thing that set-up puts into the system.

use std::env;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::debian;
use crate::paths;
use crate::process::Task;

const INSTALL_LIMIT: Duration = Duration::from_secs(1200);

/// What may be needed (a program, or the path of a file) and the package that has it, if its name is another.
const PACKAGES: [(&str, &str); 14] = [
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    (debian::KEYRING, "debian-archive-keyring"),
    ("xz", "xz-utils"),
    ("mke2fs", "e2fsprogs"),
    ("c++", "g++"),
    ("objcopy", "binutils"),
    ("pahole", "dwarves"),
    ("rpmbuild", "rpm"),
    ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-system-aarch64", "qemu-system-arm"),
    (ARM64_FIRMWARE, "qemu-efi-aarch64"),
];

/// What the VM tests need: for guests' disks `mke2fs`, for rebuilt kernel modules `gcc` and what follows it (Debian's 6.1 images
/// are packed with lz4), for the fuzz targets `c++`.
pub(super) const FOR_GUESTS: &str = "apt-get dpkg-deb ndctl kmod xz mke2fs c++ gcc lz4 zstd make objcopy pahole";

/// What boots a kernel on an arm64 machine that has ACPI, by which kernels find NVDIMMs.
pub(crate) const ARM64_FIRMWARE: &str = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd";
/// QEMU 7.2 breaks cmpxchg16b under TCG: one boot in six of Linux 6.12 ended in an oops. 10.0.2 never did.
const MIN_QEMU: u32 = 10;

/// Installs the packages of these programs and files that are missing.
pub(crate) fn ensure(needed: &[&str]) -> Result<()> {
    let packages = missing(needed, has);
    if packages.is_empty() { Ok(()) } else { install(&packages, None) }
}

fn missing<'a>(needed: &[&'a str], has: impl Fn(&str) -> bool) -> Vec<&'a str> {
    let package =
        |what: &&'a str| PACKAGES.iter().find(|(known, _)| known == what).map_or(*what, |(_, package)| package);
    needed.iter().filter(|what| !has(what)).map(package).collect()
}

pub(crate) fn has(what: &str) -> bool {
    path(what).is_some()
}

/// A file or a program of the host, searched for in root's PATH too, which a user's may lack.
pub(crate) fn path(what: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    // A path that is absolute replaces the folder it is joined to.
    env::split_paths(&folders).chain(sbin).map(|folder| folder.join(what)).find(|file| file.is_file())
}

/// Installs QEMU if it is missing or too old, and refuses one that is still too old.
pub(super) fn ensure_qemu(architecture: Architecture) -> Result<()> {
    if installed_qemu(architecture).is_some_and(|(_, major)| major >= MIN_QEMU) {
        return Ok(());
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    install(&missing(&[architecture.qemu()], |_| false), backports(&release))?;
    qemu_version(architecture).map(drop)
}

pub(crate) fn qemu_version(architecture: Architecture) -> Result<String> {
    let (version, major) = installed_qemu(architecture)
        .with_context(|| format!("`{} --version` names no version", architecture.qemu()))?;
    ensure!(
        major >= MIN_QEMU,
        "QEMU {version} is too old: below {MIN_QEMU} it corrupts guests under emulation; install {MIN_QEMU} or newer \
         (Debian 13 has it, Debian 12 has it in bookworm-backports, `cargo xtask setup` installs it)"
    );
    Ok(version)
}

/// The suite that has a new enough QEMU if the host's own release has not.
fn backports(os_release: &str) -> Option<&'static str> {
    os_release.lines().any(|line| line == "VERSION_CODENAME=bookworm").then_some("bookworm-backports")
}

fn installed_qemu(architecture: Architecture) -> Option<(String, u32)> {
    version_in(&Task::new(path(architecture.qemu())?, ["--version"]).read().ok()?)
}

/// `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`: the version and its first number.
fn version_in(output: &str) -> Option<(String, u32)> {
    let version = output.split_once("version ")?.1.split_whitespace().next()?;
    Some((version.to_owned(), version.split('.').next()?.parse().ok()?))
}

/// Installs packages in the system, from the system's own sources and, if one is named, from one more suite of Debian.
fn install(packages: &[&str], suite: Option<&str>) -> Result<()> {
    // Parts of the set-up run side by side, and dpkg works for one at a time.
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    eprintln!("install Debian packages: {} …", packages.join(" "));
    let (lists, source) = (paths::apt().join("host"), suite.map(debian::source).unwrap_or_default());
    let words = [&lists.to_string_lossy(), suite.unwrap_or_default(), &source];
    let words = words.into_iter().chain(packages.iter().copied());
    Task::script(include_str!("install.sh"), words).limit(INSTALL_LIMIT).read().map(drop)
}

static INSTALLING: Mutex<()> = Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_found_with_its_package() {
        assert_eq!(
            missing(&FOR_GUESTS.split(' ').collect::<Vec<_>>(), |what| what != "ndctl" && what != "xz"),
            ["ndctl", "xz-utils"]
        );
        assert!(missing(&FOR_GUESTS.split(' ').collect::<Vec<_>>(), |_| true).is_empty());
        assert!(has("sh") && has("/proc/self/stat"));
        assert!(!has("no-such-program-here") && !has("/no/such/file"));
    }

    #[test]
    fn versions_of_qemu_and_where_newer_ones_are() {
        let version = |output| version_in(output).map(|(version, major)| format!("{version} {major}"));
        assert_eq!(version("QEMU emulator version 10.0.2 (Debian 1:10)\nCopyright").as_deref(), Some("10.0.2 10"));
        assert_eq!(version("QEMU emulator version 7.2.17").as_deref(), Some("7.2.17 7"));
        assert_eq!(version("nonsense"), None);
        assert_eq!(backports("ID=debian\nVERSION_CODENAME=bookworm\n"), Some("bookworm-backports"));
        assert_eq!(backports("ID=debian\nVERSION_CODENAME=trixie\n"), None);
    }
}
