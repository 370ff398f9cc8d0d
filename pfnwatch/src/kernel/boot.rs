//! Which boot this is, how long ago it was, and with which libnvdimm.

use std::{fs, time::Duration};

use anyhow::Context as _;
use nix::time::{ClockId, clock_gettime};

use super::max_struct_page::host::loaded_build_id;
use crate::paths::Paths;

/// A number that the kernel makes up at each boot; none where procfs does not tell.
#[must_use]
pub fn id(paths: &Paths) -> Option<String> {
    let id = fs::read_to_string(paths.procfs.join("sys/kernel/random/boot_id")).ok()?;
    Some(id.trim().to_owned())
}

/// How long ago it was, suspend included: the clock of the programs' records.
///
/// # Errors
/// The kernel does not tell the time.
pub fn since_boot() -> anyhow::Result<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).context("the clock since boot cannot be read")
}

/// The build-id of the loaded libnvdimm, in hex; none where it is not loaded, is built in, or has none.
#[must_use]
pub fn libnvdimm_build_id(paths: &Paths) -> Option<String> {
    loaded_build_id(&paths.sysfs)
}
