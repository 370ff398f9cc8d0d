//! The event store of a version that is still to come: this version's own, with the number of a later schema.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

const STORE: &str = "/var/lib/pfnwatch/pfnwatch.db";
const ASIDE: &str = "/var/lib/pfnwatch/pfnwatch.db.later";
const LOG: &str = "/var/lib/pfnwatch/pfnwatch.db-wal";
/// Where SQLite has `user_version`, in big endian (sqlite.org/fileformat.html).
const VERSION_AT: u64 = 60;
/// The schema that this version writes, and the next one.
const NOW: u32 = 3;
const LATER: u32 = 4;

pub(super) fn disguise() -> Result<()> {
    change(NOW, LATER)
}

/// This version stands in for the later one, which knows the schema.
pub(super) fn undisguise() -> Result<()> {
    change(LATER, NOW)
}

pub(super) fn bytes() -> Result<Vec<u8>> {
    fs::read(STORE).context("no event store")
}

pub(super) fn set_aside() -> Result<()> {
    fs::rename(STORE, ASIDE).context("the event store cannot be set aside")
}

pub(super) fn take_back() -> Result<()> {
    fs::rename(ASIDE, STORE).context("the event store cannot be taken back")
}

fn change(from: u32, to: u32) -> Result<()> {
    ensure!(!Path::new(LOG).exists(), "somebody has the event store open");
    let file = File::options().read(true).write(true).open(STORE).context("no event store")?;
    let mut version = [0; 4];
    file.read_exact_at(&mut version, VERSION_AT)?;
    ensure!(u32::from_be_bytes(version) == from, "the event store has schema {}", u32::from_be_bytes(version));
    file.write_all_at(&to.to_be_bytes(), VERSION_AT).context("the event store cannot be changed")
}
