//! A guest whose clock counts instructions: what `cargo xtask bench guard` and `bench agent` measure in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use guest::boot_config::{Orders, Purpose, Soak};
use guest::report::Report;

pub(crate) use super::initramfs::Base;
use super::kernel::{self, Found};
use super::qemu::Qemu;
use super::scenario::BENCH;
use super::{backends, home, lock, programs, session};
use crate::progress;

/// The line that is measured on: the newest with long support.
const LINE: &str = "6.12";
/// How long the guest may take: a minute is usual.
const LIMIT: Duration = Duration::from_secs(1200);

/// Where something was measured.
pub(crate) struct Place {
    /// The kernel's release.
    pub(crate) release: String,
    /// The emulator, in words.
    pub(crate) emulator: String,
}

/// Boots the guest for this purpose, with what `add` gives it besides, and hands over each of its reports.
pub(crate) fn run(
    purpose: Purpose,
    add: impl FnOnce(Base) -> Result<Base>,
    mut take: impl FnMut(&Report),
) -> Result<Place> {
    let _lock = lock()?;
    let built = programs::build()?;
    let kernel = match kernel::provide(LINE)? {
        Found::Kernel(kernel) => kernel,
        Found::NotRun(why) => bail!("there is no kernel to measure on: {why}"),
    };
    let qemu = Qemu::find(&kernel.image)?.counting();
    let home = home(&kernel.line, BENCH.name)?;
    let initramfs = home.join("initramfs.cpio");
    let orders = Orders {
        line: kernel.line.clone(),
        scenario: BENCH.name.to_owned(),
        filters: Vec::new(),
        test_limit_s: LIMIT.as_secs(),
        purpose,
        soak: Soak::DEFAULT,
    };
    add(Base::new(&built)?)?.write(&kernel, None, &orders, &initramfs)?;
    let backends = backends(&kernel.line, &BENCH)?;
    let spinner = progress::spinner("measure in a virtual machine that counts instructions");
    let command = qemu.command(&kernel.image, &initramfs, &BENCH, &backends, None, "");
    let outcome = session::run(command, LIMIT, |report| take(report));
    spinner.finish_and_clear();
    fs::remove_dir_all(&home).with_context(|| format!("cannot remove {}", home.display()))?;
    let outcome = outcome?;
    ensure!(outcome.failed == 0, "the guest failed: {}", outcome.broken.unwrap_or_default());
    Ok(Place { release: kernel.release, emulator: qemu.words() })
}

/// A program, and the shared libraries that it needs.
pub(crate) fn with_libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut files = programs::libraries([program].into_iter())?;
    files.insert(program.to_path_buf());
    Ok(files)
}
