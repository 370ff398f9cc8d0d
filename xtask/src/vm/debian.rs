//! A small Debian under systemd, on a disk: what the package of pfnwatch is installed into.
//!
//! `tree` unpacks Debian's own packages into a folder and does the little of their installation that matters here, without
//! being root, and `mke2fs` makes an image of it. That is done once for one set of packages; each guest gets a copy. What
//! comes from the project (the tests, its `package`) is not in the image: guests have it in their initramfs.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use guest::debian::{NEWER, PACKAGE, PACKAGES_IN_INITRAMFS};

use super::scenario::Scenario;
use super::{home, programs};
use crate::debian::{NotAvailable, Suite};
use crate::process::Task;
use crate::{paths, progress};

mod package;
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
/// What mke2fs is to make: without a journal, and with nothing left for the kernel to initialize, since a guest's time is dear.
const FILE_SYSTEM: [&str; 9] =
    ["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "lazy_itable_init=0,root_owner=0:0"];

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
    let package = package::find()?;
    let newer = package::newer(&package)?;
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
    let spinner = progress::spinner("make a small Debian for guests");
    let _ = fs::remove_dir_all(&dir);
    let root = dir.join("root");
    tree::unpack(&packages, &root)?;
    make_image(&root, &image)?;
    tree::remove(&root)?;
    fs::write(&made_of, recipe).with_context(|| format!("cannot write {}", made_of.display()))?;
    spinner.finish_and_clear();
    Ok(image)
}

/// What is built on a Debian runs on that Debian, and not on an older one.
fn suite_of(os_release: &str) -> &str {
    let value = |key: &str| os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value("VERSION_CODENAME").filter(|_| value("ID") == Some("debian")).unwrap_or(SUITE)
}

fn make_image(root: &Path, image: &Path) -> Result<()> {
    let mut arguments: Vec<&OsStr> = FILE_SYSTEM.iter().map(|word| word.as_ref()).collect();
    arguments.extend(["-d".as_ref(), root.as_os_str(), image.as_os_str(), IMAGE_SIZE.as_ref()]);
    let program = programs::of_host("mke2fs").context("mke2fs is not installed: apt-get install e2fsprogs")?;
    // In a user namespace of its own all files are root's, as they have to be in the image.
    let task = match nix::unistd::geteuid().is_root() {
        true => Task::new(program, arguments),
        false => Task::new("unshare", [["-r".as_ref(), program.as_os_str()].as_slice(), &arguments].concat()),
    };
    task.read().map(drop).context("cannot make the image of a small Debian")
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
