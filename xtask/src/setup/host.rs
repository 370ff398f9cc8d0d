//! Debian packages that the VM tests and the fuzz targets use on the host. They are the only thing that set-up puts into the system.

use std::env;
use std::path::Path;

use anyhow::Result;

mod apt;

pub(super) use apt::install;

/// What is needed (a program, or the path of a file) and the package that has it.
const NEEDED: [(&str, &str); 14] = [
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
    ("ndctl", "ndctl"),
    ("kmod", "kmod"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    // For the disk of a guest that is a whole Debian.
    ("mke2fs", "e2fsprogs"),
    // For the kernel modules that are rebuilt: lz4 is what Debian's 6.1 images are packed with.
    ("lz4", "lz4"),
    ("gcc", "gcc"),
    // For the fuzz targets: libFuzzer is C++.
    ("c++", "g++"),
    ("make", "make"),
    ("objcopy", "binutils"),
    ("pahole", "dwarves"),
];

/// Installs the packages of what is missing.
pub(super) fn ensure() -> Result<()> {
    let packages = missing(has);
    if packages.is_empty() { Ok(()) } else { install(&packages, None) }
}

/// Installs the package of one of these programs, if that is missing.
pub(super) fn ensure_program(program: &str) -> Result<()> {
    let packages = missing(|what| what != program || has(what));
    if packages.is_empty() { Ok(()) } else { install(&packages, None) }
}

/// Installs a package that not every set-up needs, if its program is missing.
pub(super) fn ensure_package(program: &str, package: &str) -> Result<()> {
    if has(program) { Ok(()) } else { install(&[package], None) }
}

fn missing(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    NEEDED.iter().filter(|(what, _)| !has(what)).map(|(_, package)| *package).collect()
}

/// Whether the host has this file, or a program of this name (also one for root, whose folder a user's PATH may lack).
pub(crate) fn has(what: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    Path::new(what).is_absolute() && Path::new(what).exists() || folders.into_iter().any(|dir| dir.join(what).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_what_is_missing() {
        assert_eq!(missing(|what| what != "ndctl" && what != "xz"), ["ndctl", "xz-utils"]);
        assert!(missing(|_| true).is_empty());
    }

    #[test]
    fn programs_and_files_are_found() {
        assert!(has("sh") && has("/proc/self/stat"));
        assert!(!has("no-such-program-here") && !has("/no/such/file"));
    }
}
