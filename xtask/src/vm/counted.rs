//! A guest whose clock counts instructions: what `cargo xtask bench guard` measures in.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use guest::bench::Measurement;
use guest::bpf::empty;
use guest::orders::{Orders, Purpose};
use guest::report::Report;

use super::initramfs::Base;
use super::kernel::{self, Found};
use super::qemu::Qemu;
use super::scenario::BENCH;
use super::{backends, home, lock, programs, session};
use crate::progress;

/// The line that is measured on: the newest with long support.
const LINE: &str = "6.12";
/// How long the guest may take: a minute is usual.
const LIMIT: Duration = Duration::from_secs(600);

/// What was measured, and where.
pub(crate) struct Measured {
    /// The kernel's release.
    pub(crate) release: String,
    /// The emulator, in words.
    pub(crate) emulator: String,
    /// The measurements, in the order in which they were made.
    pub(crate) measurements: Vec<Measurement>,
}

/// Boots the guest and takes what it reports; `empty` is the object of the program that does nothing.
pub(crate) fn run(empty: PathBuf) -> Result<Measured> {
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
        purpose: Purpose::BenchGuard,
    };
    Base::new(&built)?.with(empty::OBJECT, empty).write(&kernel, None, &orders, &initramfs)?;
    let backends = backends(&kernel.line, &BENCH)?;
    let spinner = progress::spinner("measure in a virtual machine that counts instructions");
    let mut measurements = Vec::new();
    let command = qemu.command(&kernel.image, &initramfs, &BENCH, &backends);
    let outcome = session::run(command, LIMIT, |report| {
        if let Report::Measured(measurement) = report {
            measurements.push(measurement.clone());
        }
    });
    spinner.finish_and_clear();
    fs::remove_dir_all(&home).with_context(|| format!("cannot remove {}", home.display()))?;
    let outcome = outcome?;
    ensure!(outcome.failed == 0, "the guest failed: {}", outcome.broken.unwrap_or_default());
    Ok(Measured { release: kernel.release, emulator: qemu.words(), measurements })
}
