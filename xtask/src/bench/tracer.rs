//! bpftrace with all its libraries, out of Debian's archive: a newer one than the host may have, and nothing is installed.

use fs_err as fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use guest::bench::{TRACER, TRACER_LOADER};

use crate::debian::{self, Suite};
use crate::process::Task;
use crate::vm::counted::Base;

/// bpftrace 0.23 knows the types of modules, which Debian 12's 0.17 does not.
const SUITE: &str = "trixie";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Its files: names in the guest's folder, and places on the host.
pub(super) struct Tracer(Vec<(String, PathBuf)>);

impl Tracer {
    /// Fetches and unpacks what is missing.
    pub(super) fn provide() -> Result<Self> {
        let root = unpacked()?;
        let (libraries, program) = (root.join(LIBRARIES), root.join("usr/bin/bpftrace"));
        let loader = libraries.join(TRACER_LOADER);
        let arguments = ["--library-path".as_ref(), libraries.as_path(), "--list".as_ref(), program.as_path()];
        let said = Task::new(&loader, arguments).read().context("bpftrace's libraries cannot be listed")?;
        let names = said.lines().filter_map(|line| line.split_once(" => ").map(|(name, _)| name.trim().to_owned()));
        let mut files: Vec<_> =
            names.filter(|name| !name.starts_with('/')).map(|name| (name.clone(), libraries.join(name))).collect();
        files.extend([(TRACER_LOADER.to_owned(), loader), ("bpftrace".to_owned(), program)]);
        Ok(Self(files))
    }

    /// Puts all of it into a guest.
    pub(super) fn put_into(&self, base: Base) -> Base {
        self.0.iter().fold(base, |base, (name, file)| base.with(&format!("{TRACER}/{name}"), file.clone()))
    }

    /// What its files take.
    pub(super) fn installed_bytes(&self) -> Result<u64> {
        self.0.iter().map(|(_, file)| size(file)).sum()
    }

    /// Such as `bpftrace v0.23.2`.
    pub(super) fn version(&self) -> Result<String> {
        let place = |name: &str| self.0.iter().find(|(own, _)| own == name).map(|(_, file)| file.as_path());
        let (loader, program) = place(TRACER_LOADER).zip(place("bpftrace")).context("bpftrace has no files")?;
        let libraries = loader.parent().unwrap_or(loader);
        let arguments = ["--library-path".as_ref(), libraries, program, "--version".as_ref()];
        Ok(Task::new(loader, arguments).read()?.trim().to_owned())
    }
}

/// A folder with the packages' contents.
fn unpacked() -> Result<PathBuf> {
    let packages = Suite::open(SUITE)?.closure(&["bpftrace"])?;
    let own = packages
        .iter()
        .filter_map(|file| file.file_stem())
        .find(|name| name.to_string_lossy().starts_with("bpftrace_"));
    debian::unpacked_as(&own.context("no package bpftrace")?.to_string_lossy(), &packages)
}

/// The size of a file, or of the one that a link leads to.
pub(super) fn size(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file)?.len())
}
