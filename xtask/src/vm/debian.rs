//! A small Debian under systemd, on a disk: what the package of pfnwatch is installed into.
//!
//! Debian's own packages are unpacked into a folder, with the little of their installation that matters here, without being
//! root, and `mke2fs` makes an image of it. That is done once for one set of packages; each guest gets a copy. What comes from
//! the project (the tests, its package) is not in the image: guests have it in their initramfs.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use fs_err as fs;
use guest::debian::{NEWER, NEWER_RPM, PACKAGE, PACKAGES_IN_INITRAMFS, RPM, RPM_TOOLS};

use super::scenario::Scenario;
use super::{disk, home};
use crate::debian::{Suite, empty_folder};
use crate::process::Task;
use crate::{dist, paths, setup};

/// The suite if the host is no Debian: that of the kernel which the guest boots.
const SUITE: &str = "bookworm";
/// What a host has at least, and what package scripts and tests call for. crun runs the container. Without usr-is-merged, its
/// alternative is taken, which needs all of Perl.
const PACKAGES: &str = "base-files base-passwd bash coreutils crun dash diffutils dpkg findutils grep gzip \
    init-system-helpers kmod libc-bin mount ndctl passwd perl-base sed systemd systemd-sysv udev usr-is-merged util-linux";
/// Room for what is installed and written in a guest, beside 80 MiB of Debian. The file is sparse.
const IMAGE_SIZE: &str = "192M";
/// No blocks are reserved for root.
const FILE_SYSTEM: [&str; 2] = ["-m", "0"];

const MAKE: &str = include_str!("make-debian.sh");
/// Makes the same package with a higher version, packed quickly and unpacked quickly in the guest: `$1` the package, `$2`
/// the folder to make, for `newer.deb`.
const MAKE_NEWER: &str = include_str!("make-newer.sh");
const PACK_RPM: &str = include_str!("rpm-tools.sh");

pub(super) struct Installation {
    image: PathBuf,
    /// The packages of pfnwatch with their places in the initramfs: as it was built, and the same with a higher version.
    pub(super) packages: Vec<(String, PathBuf)>,
}

impl Installation {
    /// The disk of a guest: fresh, or as the scenario that this one continues left it.
    pub(super) fn disk(&self, line: &str, scenario: &Scenario) -> Result<PathBuf> {
        let disk = home(line, scenario.continues.unwrap_or(scenario.name))?.join("root.img");
        if scenario.continues.is_none() || !disk.exists() {
            fs::copy(&self.image, &disk)?;
        }
        Ok(disk)
    }
}

pub(super) fn provide() -> Result<Installation> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let image = base(&Suite::open(suite_of(&release))?)?;
    let place = |name: &str| format!("{}/{name}", PACKAGES_IN_INITRAMFS.trim_start_matches('/'));
    let package = package()?;
    let folder = paths::target().join("vm/debian-packages");
    Task::script(MAKE_NEWER, [&package, &folder]).read()?;
    let (tools, rpm) = (folder.join(RPM_TOOLS), setup::rpm()?);
    Task::script(PACK_RPM, [&tools, &rpm]).read()?;
    let [rpm, newer_rpm] = dist::rpms(&package, &folder)?;
    let packages =
        [(PACKAGE, package), (NEWER, folder.join("newer.deb")), (RPM, rpm), (NEWER_RPM, newer_rpm), (RPM_TOOLS, tools)];
    Ok(Installation { image, packages: packages.map(|(name, file)| (place(name), file)).into() })
}

/// What is built on a Debian runs on that Debian, and not on an older one.
fn suite_of(os_release: &str) -> &str {
    let value = |key: &str| os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value("VERSION_CODENAME").filter(|_| value("ID") == Some("debian")).unwrap_or(SUITE)
}

/// The image of the base system, made unless that was done before with the same packages.
fn base(suite: &Suite) -> Result<PathBuf> {
    let packages = suite.closure(&PACKAGES.split_whitespace().collect::<Vec<_>>())?;
    let dir = paths::target().join("vm/debian");
    let (image, made_of, root) = (dir.join("root.img"), dir.join("recipe"), dir.join("root"));
    let names: Vec<_> = packages.iter().filter_map(|file| file.file_name()).collect();
    let recipe = format!("{names:#?}\n{MAKE}{IMAGE_SIZE}\n{FILE_SYSTEM:?}\n");
    if image.is_file() && fs::read_to_string(&made_of).is_ok_and(|kept| kept == recipe) {
        return Ok(image);
    }
    println!("make a small Debian for guests …");
    empty_folder(&dir)?;
    Task::script(MAKE, std::iter::once(&root).chain(&packages)).read()?;
    disk::ext4(&FILE_SYSTEM, &root, &image, IMAGE_SIZE)?;
    fs::remove_dir_all(&root)?;
    fs::write(&made_of, recipe)?;
    Ok(image)
}

/// The package of the agent that was built: as `cargo xtask dist` left it, or made now.
fn package() -> Result<PathBuf> {
    // A file that is missing is older than any.
    let modified = |file: &Path| -> Option<SystemTime> { fs::metadata(file).and_then(|meta| meta.modified()).ok() };
    let made = fs::read_dir(paths::dist()).into_iter().flatten().flatten().map(|entry| entry.path());
    let deb = made.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    match deb.filter(|deb| modified(deb) > modified(&paths::agent())) {
        Some(deb) => Ok(deb),
        None => {
            setup::for_dist()?;
            dist::run()
        }
    }
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
}
