//! Programs of a guest for another architecture: out of Debian's packages, which are unpacked and not installed.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::debian::{self, Suite};
use crate::process::Task;

const SUITE: &str = "trixie";
const PACKAGES: [&str; 6] = ["coreutils", "dash", "grep", "kmod", "ndctl", "util-linux"];
const PROGRAMS: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];

/// Those of the programs that the packages have, with their libraries and the loader, and their places in the guest.
pub(super) fn tools(architecture: Architecture, names: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let debs = Suite::open_for(SUITE, architecture)?.closure(&PACKAGES)?;
    // A folder for each set of packages.
    let sum =
        debs.iter().map(|deb| deb.file_name().unwrap_or_default().to_string_lossy()).collect::<Vec<_>>().join(" ");
    let sum = Task::script("# name a set of packages\necho \"$1\" | sha256sum | cut -c 1-16", [&sum]).read()?;
    let root = debian::unpacked_as(&format!("guest-tools_{}_{}", architecture.debian_name(), sum.trim()), &debs)?;
    let program = |name: &&str| {
        let file = PROGRAMS.iter().map(|folder| root.join(folder).join(name)).find(|file| file.is_file())?;
        Some((format!("bin/{name}"), file))
    };
    let mut files: Vec<_> = names.iter().filter_map(program).collect();
    let triplet = format!("{}-linux-gnu", architecture.name());
    let libraries = root.join("usr/lib").join(&triplet);
    for entry in fs::read_dir(&libraries)?.flatten() {
        let (name, file) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if name.contains(".so.") {
            files.push((format!("lib/{triplet}/{name}"), file));
        }
    }
    let loader = fs::canonicalize(root.join(format!("usr/lib/ld-linux-{}.so.1", architecture.name())));
    files.push((format!("lib/ld-linux-{}.so.1", architecture.name()), loader.context("the packages have no loader")?));
    Ok(files)
}
