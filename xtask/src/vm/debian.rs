//! A small Debian under systemd, on a disk: what the package of pfnwatch is installed into.
//!
//! Debian's own packages are unpacked into a folder, with the little of their installation that matters here, without being
//! root, and `mke2fs` makes an image of it. That is done once for one set of packages; each guest gets a copy. What comes from
//! the project (the tests, its package) is not in the image: guests have it in their initramfs.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use guest::debian::{NEWER, PACKAGE, PACKAGES_IN_INITRAMFS};

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

/// What no guest reads.
const LEFT_OUT: [&str; 8] = [
    "./lib/udev/hwdb.d/*",
    "./usr/lib/x86_64-linux-gnu/gconv/*",
    "./usr/share/doc/*",
    "./usr/share/i18n/*",
    "./usr/share/info/*",
    "./usr/share/locale/*",
    "./usr/share/man/*",
    "./usr/share/zoneinfo/*",
];

/// Units that nobody needs in a guest without people.
const MASKED: [&str; 7] = [
    "getty.target",
    "serial-getty@.service",
    "systemd-firstboot.service",
    "systemd-logind.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
];

/// Files that the packages' scripts would make, or the host's owner: path and text. With an id of its own systemd takes
/// the boot for no first one, and does not enable everything that it can.
const FILES: [(&str, &str); 7] = [
    ("etc/gshadow", "root:*::\n"),
    ("etc/hostname", "debian\n"),
    ("etc/hosts", "127.0.0.1 localhost debian\n"),
    ("etc/machine-id", "6f1c2a3b4d5e46f7a8b9c0d1e2f30415\n"),
    ("etc/shadow", "root:*:19000:0:99999:7:::\n"),
    ("var/lib/dpkg/available", ""),
    // Nothing of the journal is to be written to the disk, and all of it is to be kept.
    ("etc/systemd/journald.conf", "[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n"),
];

/// Unpacks a package, and lists its files for dpkg: `$1` the .deb file, `$2` the folder, `$3` the list,
/// `$4` the patterns of what is left out.
const UNPACK: &str = r#"set -e
dpkg-deb --fsys-tarfile "$1" | tar -x -v -C "$2" --keep-directory-symlink --exclude-from "$4" |
    sed 's,^\.,,; s,/$,,; s,^$,/.,' > "$3"
"#;

/// What a guest needs besides its kernel.
pub(super) struct Installation {
    /// The image of the base system.
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

/// Makes what is missing of it. The error is a `NotAvailable` if Debian's suite cannot be had.
pub(super) fn provide() -> Result<Installation> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let image = base(&Suite::open(suite_of(&release))?)?;
    let place = |name: &str| format!("{}/{name}", PACKAGES_IN_INITRAMFS.trim_start_matches('/'));
    let package = package()?;
    let newer = newer_package(&package)?;
    Ok(Installation { image, packages: vec![(place(PACKAGE), package), (place(NEWER), newer)] })
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
    let recipe = format!("{names:#?}\n{LEFT_OUT:?}\n{MASKED:?}\n{FILES:?}\n{UNPACK}{IMAGE_SIZE}\n{FILE_SYSTEM:?}\n");
    if image.is_file() && fs::read_to_string(&made_of).is_ok_and(|kept| kept == recipe) {
        return Ok(image);
    }
    println!("make a small Debian for guests …");
    empty_folder(&dir)?;
    unpack(&packages, &root)?;
    configure(&root)?;
    disk::ext4(&FILE_SYSTEM, &root, &image, IMAGE_SIZE)?;
    fs::remove_dir_all(&root)?;
    fs::write(&made_of, recipe)?;
    Ok(image)
}

/// Unpacks the packages into a new folder, and has dpkg take them for installed.
fn unpack(packages: &[PathBuf], root: &Path) -> Result<()> {
    // The top folders are links into /usr, as in every Debian of today; packages still name them.
    for name in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(root.join("usr").join(name))?;
        link(&format!("usr/{name}"), &root.join(name))?;
    }
    let dpkg = root.join("var/lib/dpkg");
    ["info", "updates", "triggers"].iter().try_for_each(|folder| fs::create_dir_all(dpkg.join(folder)))?;
    let leave_out = root.with_extension("leave-out");
    fs::write(&leave_out, LEFT_OUT.join("\n"))?;
    let mut status = String::new();
    for package in packages {
        let control = Task::new("dpkg-deb", ["-f".as_ref(), package.as_os_str()]).read()?;
        let list = dpkg.join("info").join(list_name(&control).with_context(|| format!("{}", package.display()))?);
        let places = [package.as_path(), root, &list, &leave_out].map(Path::as_os_str);
        Task::new("sh", ["-c".as_ref(), UNPACK.as_ref(), "unpack".as_ref()].into_iter().chain(places)).read()?;
        status += &installed(&control);
    }
    Ok(fs::write(dpkg.join("status"), status)?)
}

/// What the packages' own scripts would do, as far as it matters here.
fn configure(root: &Path) -> Result<()> {
    for name in ["passwd", "group"] {
        let master = root.join("usr/share/base-passwd").join(format!("{name}.master"));
        fs::copy(master, root.join("etc").join(name))?;
    }
    for (place, target) in [("var/run", "/run"), ("var/lock", "/run/lock")] {
        let _ = fs::remove_dir_all(root.join(place));
        link(target, &root.join(place))?;
    }
    FILES.iter().try_for_each(|(path, text)| fs::write(root.join(path), text))?;
    MASKED.iter().try_for_each(|unit| link("/dev/null", &root.join("etc/systemd/system").join(unit)))
}

fn link(target: &str, place: &Path) -> Result<()> {
    symlink(target, place).with_context(|| format!("cannot link {}", place.display()))
}

/// `dash.list`, or `libc6:amd64.list` if a package may be installed for several architectures at once.
fn list_name(control: &str) -> Option<String> {
    let field = |name: &str| control.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let architecture = field("Architecture").filter(|_| field("Multi-Arch") == Some("same"));
    let architecture = architecture.map_or_else(String::new, |name| format!(":{name}"));
    Some(format!("{}{architecture}.list", field("Package")?))
}

/// A package's paragraph of dpkg's status.
fn installed(control: &str) -> String {
    let (first, rest) = control.split_once('\n').unwrap_or((control, ""));
    format!("{first}\nStatus: install ok installed\n{}\n\n", rest.trim_end())
}

/// The package of the agent that was built: as `cargo xtask dist` left it, or made now.
fn package() -> Result<PathBuf> {
    // A file that is missing is older than any.
    let modified = |file: &Path| -> Option<SystemTime> { fs::metadata(file).and_then(|meta| meta.modified()).ok() };
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

/// The same package with a higher version.
fn newer_package(package: &Path) -> Result<PathBuf> {
    let dir = paths::target().join("vm/debian-packages");
    let (tree, newer) = (dir.join("tree"), dir.join("newer.deb"));
    empty_folder(&dir)?;
    Task::new("dpkg-deb", ["-R".as_ref(), package.as_os_str(), tree.as_os_str()]).read()?;
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control)?;
    let later = with_later_version(&text);
    ensure!(later != text, "a package without a version: {text}");
    fs::write(&control, later)?;
    // Packed quickly, and unpacked quickly in the guest.
    let words = ["--root-owner-group", "-Zgzip", "-z1", "-b"].map(AsRef::as_ref);
    Task::new("dpkg-deb", words.into_iter().chain([tree.as_os_str(), newer.as_os_str()])).read()?;
    Ok(newer)
}

fn with_later_version(control: &str) -> String {
    let later = |line: &str| if line.starts_with("Version: ") { "+later\n" } else { "\n" };
    control.lines().map(|line| line.to_owned() + later(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str =
        "Package: libc6\nArchitecture: amd64\nMulti-Arch: same\nVersion: 1-1\nDescription: x\n Version: y\n";

    #[test]
    fn guest_is_of_the_hosts_release() {
        assert_eq!(suite_of("ID=debian\nVERSION_CODENAME=trixie\n"), "trixie");
        assert_eq!(suite_of("ID=ubuntu\nVERSION_CODENAME=noble\n"), SUITE);
        assert_eq!(suite_of(""), SUITE);
    }

    #[test]
    fn packages_are_installed_as_dpkg_would() {
        assert_eq!(with_later_version(CONTROL), CONTROL.replace("1-1", "1-1+later"));
        assert_eq!(list_name(CONTROL).unwrap(), "libc6:amd64.list");
        assert_eq!(list_name("Package: dash\nArchitecture: amd64\n").unwrap(), "dash.list");
        assert_eq!(list_name("Version: 1\n"), None);
        let status = installed(CONTROL);
        assert!(status.starts_with("Package: libc6\nStatus: install ok installed\nArchitecture: amd64\n"), "{status}");
        assert!(status.ends_with(" y\n\n"), "{status}");
    }
}
