//! A small Debian under systemd, on a disk: what the package of pfnwatch is installed into.
//!
//! `tree` unpacks Debian's own packages into a folder and does the little of their installation that matters here, without
//! being root, and `mke2fs` makes an image of it. That is done once for one set of packages; each guest gets a copy. What
//! comes from the project (the tests, its package) is not in the image: guests have it in their initramfs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use guest::debian::{NEWER, PACKAGE, PACKAGES_IN_INITRAMFS};

use super::scenario::Scenario;
use super::{disk, home};
use crate::debian::{NotAvailable, Suite};
use crate::process::Task;
use crate::{dist, paths, setup};

mod tree;

/// The suite where the host is no Debian: that of the kernel which the guest boots.
const SUITE: &str = "bookworm";
/// What a host has at least, and what package scripts and tests call for.
const PACKAGES: [&str; 24] = [
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    // Runs the container.
    "crun",
    "dash",
    "diffutils",
    "dpkg",
    "findutils",
    "grep",
    "gzip",
    "init-system-helpers",
    "kmod",
    "libc-bin",
    "mount",
    "ndctl",
    "passwd",
    "perl-base",
    "sed",
    "systemd",
    "systemd-sysv",
    "udev",
    // Without it, its alternative is taken, which needs all of Perl.
    "usr-is-merged",
    "util-linux",
];
/// Room for what is installed and written in a guest, beside 80 MiB of Debian. The file is sparse.
const IMAGE_SIZE: &str = "192M";
/// No blocks are reserved for root.
const FILE_SYSTEM: [&str; 2] = ["-m", "0"];

/// What a guest needs besides its kernel.
pub(super) struct Installation {
    /// The image of the base system.
    image: PathBuf,
    /// The packages of pfnwatch with their places in the initramfs: as it was built, and the same with a higher version.
    pub(super) packages: Vec<(String, PathBuf)>,
}

/// Makes what is missing of it; the reason where Debian's suite cannot be had.
pub(super) fn provide() -> Result<Result<Installation, String>> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite = match Suite::open(suite_of(&release)) {
        Ok(suite) => suite,
        Err(error) => return error.downcast::<NotAvailable>().map(|gone| Err(gone.to_string())),
    };
    let image = base(&suite)?;
    let place = |name: &str| format!("{}/{name}", PACKAGES_IN_INITRAMFS.trim_start_matches('/'));
    let package = package()?;
    let newer = newer_package(&package)?;
    Ok(Ok(Installation { image, packages: vec![(place(PACKAGE), package), (place(NEWER), newer)] }))
}

/// The image of the base system, made unless that was done before with the same packages.
fn base(suite: &Suite) -> Result<PathBuf> {
    let packages = suite.closure(&PACKAGES)?;
    let dir = paths::target().join("vm/debian");
    let (image, made_of) = (dir.join("root.img"), dir.join("recipe"));
    let recipe = format!("{}{IMAGE_SIZE}\n{FILE_SYSTEM:?}\n", tree::recipe(&packages));
    if image.is_file() && fs::read_to_string(&made_of).is_ok_and(|kept| kept == recipe) {
        return Ok(image);
    }
    println!("make a small Debian for guests …");
    let _ = fs::remove_dir_all(&dir);
    let root = dir.join("root");
    tree::unpack(&packages, &root)?;
    disk::ext4(&FILE_SYSTEM, &root, &image, IMAGE_SIZE)?;
    fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    fs::write(&made_of, recipe).with_context(|| format!("cannot write {}", made_of.display()))?;
    Ok(image)
}

/// What is built on a Debian runs on that Debian, and not on an older one.
fn suite_of(os_release: &str) -> &str {
    let value = |key: &str| os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value("VERSION_CODENAME").filter(|_| value("ID") == Some("debian")).unwrap_or(SUITE)
}

impl Installation {
    /// The disk of a guest: fresh, or as the scenario that this one continues left it.
    pub(super) fn disk(&self, line: &str, scenario: &Scenario) -> Result<PathBuf> {
        let disk = home(line, scenario.continues.unwrap_or(scenario.name))?.join("root.img");
        if scenario.continues.is_none() || !disk.exists() {
            let from = &self.image;
            fs::copy(from, &disk).with_context(|| format!("cannot copy {} to {}", from.display(), disk.display()))?;
        }
        Ok(disk)
    }
}

/// What is put behind the version of the newer package.
const LATER: &str = "+later";

/// The package of the agent that was built: as `cargo xtask dist` left it, or made now.
fn package() -> Result<PathBuf> {
    let made = fs::read_dir(paths::dist()).into_iter().flatten().flatten().map(|entry| entry.path());
    let deb = made.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    match deb.filter(|deb| modified(deb) > modified(&paths::target().join("release/pfnwatch"))) {
        Some(deb) => Ok(deb),
        None => {
            setup::for_dist()?;
            dist::run()
        }
    }
}

/// None where there is no such file: that is older than any.
fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|meta| meta.modified()).ok()
}

/// The same package with a higher version.
fn newer_package(package: &Path) -> Result<PathBuf> {
    let dir = paths::target().join("vm/debian-packages");
    let (tree, newer) = (dir.join("tree"), dir.join("newer.deb"));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Task::new("dpkg-deb", ["-R".as_ref(), package.as_os_str(), tree.as_os_str()]).read()?;
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).with_context(|| format!("no {}", control.display()))?;
    let later = with_later_version(&text);
    ensure!(later != text, "a package without a version: {text}");
    fs::write(&control, later).with_context(|| format!("cannot write {}", control.display()))?;
    // Packed quickly, and unpacked quickly in the guest.
    let words = ["--root-owner-group", "-Zgzip", "-z1", "-b"];
    let words = words.iter().map(AsRef::as_ref).chain([tree.as_os_str(), newer.as_os_str()]);
    Task::new("dpkg-deb", words).read()?;
    Ok(newer)
}

fn with_later_version(control: &str) -> String {
    let line = |line: &str| match line.starts_with("Version: ") {
        true => format!("{}{LATER}\n", line.trim_end()),
        false => format!("{line}\n"),
    };
    control.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_is_of_the_hosts_release() {
        assert_eq!(suite_of("ID=debian\nVERSION_CODENAME=trixie\n"), "trixie");
        assert_eq!(suite_of("ID=ubuntu\nVERSION_CODENAME=noble\n"), SUITE);
        assert_eq!(suite_of(""), SUITE);
    }

    #[test]
    fn version_alone_changes() {
        let control = "Package: pfnwatch\nVersion: 0.1.0-1\nDescription: x\n Version: y\n";
        assert_eq!(
            with_later_version(control),
            "Package: pfnwatch\nVersion: 0.1.0-1+later\nDescription: x\n Version: y\n"
        );
    }
}
