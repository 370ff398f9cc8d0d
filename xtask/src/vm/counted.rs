//! A guest whose clock counts instructions: what `cargo xtask bench guard` and `bench agent` measure in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use guest::boot_config::Purpose;
use guest::report::Report;

use super::initramfs::Base;
use super::kernel;
use super::programs;
use super::qemu::Qemu;
use super::scenario::BENCH;
use super::{Guest, lock};

/// The line that is measured on: the newest with long support.
const LINE: &str = "6.12";
/// How long the guest may take: a minute is usual.
const LIMIT: Duration = Duration::from_secs(1200);

pub(crate) struct Place {
    pub(crate) release: String,
    pub(crate) emulator: String,
}

/// Boots the guest for this purpose, with these files of the host's at these paths besides, prints what it starts, and
/// returns what is picked of its reports.
pub(crate) fn run<T>(
    purpose: Purpose,
    files: &[(String, PathBuf)],
    pick: impl Fn(&Report) -> Option<T>,
) -> Result<(Place, Vec<T>)> {
    let _lock = lock()?;
    let built = programs::build()?;
    let kernel = kernel::provide(LINE, kernel::CLOUD).context("there is no kernel to measure on")?;
    let qemu = Qemu::find(&kernel)?.counting();
    println!("measure in a virtual machine that counts instructions …");
    let base = Base::new(&built)?.and(files.iter().cloned());
    let guest = Guest { kernel: &kernel, libnvdimm: None, debian: None, machine: &BENCH };
    let mut picked = Vec::new();
    guest.boot_alone(purpose, LIMIT, (&base, &qemu), |report| match report {
        Report::Started { name } => eprintln!("{name}"),
        report => picked.extend(pick(report)),
    })?;
    Ok((Place { release: kernel.release, emulator: qemu.words() }, picked))
}

pub(crate) fn with_libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut files = programs::libraries([program].into_iter())?;
    files.insert(program.to_path_buf());
    Ok(files)
}
