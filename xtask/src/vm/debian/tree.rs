//! The folder that becomes a small Debian.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::Task;

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

/// All that a tree is made of: where that is the same, so is the tree.
pub(super) fn recipe(packages: &[PathBuf]) -> String {
    let names: Vec<_> = packages.iter().filter_map(|file| file.file_name()).collect();
    format!("{names:#?}\n{LEFT_OUT:?}\n{MASKED:?}\n{FILES:?}\n{UNPACK}")
}

/// Unpacks the packages into a new folder, and has dpkg take them for installed.
pub(super) fn unpack(packages: &[PathBuf], root: &Path) -> Result<()> {
    merge_usr(root)?;
    let dpkg = root.join("var/lib/dpkg");
    for folder in ["info", "updates", "triggers"] {
        create_dir(&dpkg.join(folder))?;
    }
    let leave_out = root.with_extension("leave-out");
    write(&leave_out, &LEFT_OUT.join("\n"))?;
    let mut status = String::new();
    for package in packages {
        let control = Task::new("dpkg-deb", ["-f".as_ref(), package.as_os_str()]).read()?;
        let list = dpkg.join("info").join(list_name(&control).with_context(|| format!("{}", package.display()))?);
        let places = [package.as_path(), root, &list, &leave_out].map(Path::as_os_str);
        Task::new("sh", ["-c".as_ref(), UNPACK.as_ref(), "unpack".as_ref()].into_iter().chain(places)).read()?;
        status += &installed(&control);
    }
    write(&dpkg.join("status"), &status)?;
    configure(root)
}

/// The top folders are links into /usr, as in every Debian of today; packages still name them.
fn merge_usr(root: &Path) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        create_dir(&root.join("usr").join(name))?;
        link(&format!("usr/{name}"), &root.join(name))?;
    }
    Ok(())
}

/// What the packages' own scripts would do, as far as it matters here.
fn configure(root: &Path) -> Result<()> {
    for name in ["passwd", "group"] {
        let master = root.join("usr/share/base-passwd").join(format!("{name}.master"));
        fs::copy(&master, root.join("etc").join(name)).with_context(|| format!("cannot copy {}", master.display()))?;
    }
    for (place, target) in [("var/run", "/run"), ("var/lock", "/run/lock")] {
        let place = root.join(place);
        let _ = fs::remove_dir_all(&place);
        link(target, &place)?;
    }
    for (path, text) in FILES {
        write(&root.join(path), text)?;
    }
    for unit in MASKED {
        link("/dev/null", &root.join("etc/systemd/system").join(unit))?;
    }
    Ok(())
}

/// `dash.list`, or `libc6:amd64.list` where a package may be installed for several architectures at once.
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

fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn link(target: &str, place: &Path) -> Result<()> {
    symlink(target, place).with_context(|| format!("cannot link {}", place.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "Package: libc6\nArchitecture: amd64\nMulti-Arch: same\nDescription: x\n y\n";

    #[test]
    fn packages_for_several_architectures_have_theirs_in_the_lists_name() {
        assert_eq!(list_name(CONTROL).unwrap(), "libc6:amd64.list");
        assert_eq!(list_name("Package: dash\nArchitecture: amd64\n").unwrap(), "dash.list");
        assert_eq!(list_name("Version: 1\n"), None);
    }

    #[test]
    fn status_says_installed() {
        let status = installed(CONTROL);
        assert!(status.starts_with("Package: libc6\nStatus: install ok installed\nArchitecture: amd64\n"), "{status}");
        assert!(status.ends_with(" y\n\n"), "{status}");
    }
}
