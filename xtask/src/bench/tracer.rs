//! bpftrace with all its libraries, out of Debian's archive: a newer one than the host may have, and nothing is installed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use guest::bench::{TRACER, TRACER_LOADER};

use crate::debian::{self, Suite};
use crate::process::Task;

/// bpftrace 0.23 knows the types of modules, which Debian 12's 0.17 does not.
const SUITE: &str = "trixie";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

pub(super) struct Tracer(pub(super) Vec<(String, PathBuf)>);

impl Tracer {
    pub(super) fn provide() -> Result<Self> {
        let root = unpacked()?;
        let (libraries, program) = (root.join(LIBRARIES), root.join("usr/bin/bpftrace"));
        let listed = run(&root, &["--list"], &[]).context("bpftrace's libraries cannot be listed")?;
        let names = listed.lines().filter_map(|line| line.split_once(" => ").map(|(name, _)| name.trim()));
        let names = names.filter(|name| !name.starts_with('/')).chain([TRACER_LOADER]);
        let files = names.map(|name| (name, libraries.join(name))).chain([("bpftrace", program)]);
        Ok(Self(files.map(|(name, file)| (format!("{}/{name}", TRACER.trim_start_matches('/')), file)).collect()))
    }

    pub(super) fn installed_bytes(&self) -> Result<u64> {
        self.0.iter().map(|(_, file)| size(file)).sum()
    }

    /// Such as `bpftrace v0.23.2`.
    pub(super) fn version(&self) -> Result<String> {
        Ok(run(&unpacked()?, &[], &["--version"])?.trim().to_owned())
    }
}

/// Runs bpftrace on this host by its own loader, with options of the loader and of its own.
fn run(root: &Path, of_loader: &[&str], options: &[&str]) -> Result<String> {
    let (libraries, program) = (root.join(LIBRARIES), root.join("usr/bin/bpftrace"));
    let words = ["--library-path".as_ref(), libraries.as_os_str()];
    let words = words.into_iter().chain(of_loader.iter().map(AsRef::as_ref)).chain([program.as_os_str()]);
    Task::new(libraries.join(TRACER_LOADER), words.chain(options.iter().map(AsRef::as_ref))).read()
}

fn unpacked() -> Result<PathBuf> {
    let packages = Suite::open(SUITE)?.closure(&["bpftrace"])?;
    let own = packages
        .iter()
        .filter_map(|file| file.file_stem())
        .find(|name| name.to_string_lossy().starts_with("bpftrace_"));
    debian::unpacked_as(&own.context("no package bpftrace")?.to_string_lossy(), &packages)
}

pub(super) fn size(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file)?.len())
}
