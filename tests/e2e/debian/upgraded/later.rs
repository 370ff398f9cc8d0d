//! The journal of a version that is still to come: this version's own, with the number of a later schema.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

const JOURNAL: &str = "/var/lib/pfnwatch/pfnwatch.db";
const ASIDE: &str = "/var/lib/pfnwatch/pfnwatch.db.later";
const LOG: &str = "/var/lib/pfnwatch/pfnwatch.db-wal";
/// Where SQLite has `user_version`, in big endian (sqlite.org/fileformat.html).
const VERSION_AT: u64 = 60;
/// The schema that this version writes, and the next one.
const NOW: u32 = 2;
const LATER: u32 = 3;

pub(super) fn disguise() -> Result<()> {
    change(NOW, LATER)
}

/// This version stands in for the later one, which knows the schema.
pub(super) fn undisguise() -> Result<()> {
    change(LATER, NOW)
}

pub(super) fn bytes() -> Result<Vec<u8>> {
    fs::read(JOURNAL).context("no journal")
}

pub(super) fn set_aside() -> Result<()> {
    fs::rename(JOURNAL, ASIDE).context("the journal cannot be set aside")
}

pub(super) fn take_back() -> Result<()> {
    fs::rename(ASIDE, JOURNAL).context("the journal cannot be taken back")
}

fn change(from: u32, to: u32) -> Result<()> {
    ensure!(!Path::new(LOG).exists(), "somebody has the journal open");
    let file = File::options().read(true).write(true).open(JOURNAL).context("no journal")?;
    let mut version = [0; 4];
    file.read_exact_at(&mut version, VERSION_AT)?;
    ensure!(u32::from_be_bytes(version) == from, "the journal has schema {}", u32::from_be_bytes(version));
    file.write_all_at(&to.to_be_bytes(), VERSION_AT).context("the journal cannot be changed")
}
