//! A host with 64 oversize namespaces before its next boot, which enforces: `debian_again` continues with it.

use anyhow::Result;
use guest::creation::{self, NamespaceSpec};
use guest::debian::{self, PACKAGE};
use guest::{MIB, command};

use super::{ENFORCE_AND_HOLD, oversize};

/// The number of namespaces: the smallest in whole regions for which this kernel wastes more than one align.
pub(crate) const COUNT: usize = 64;
const SIZE: u64 = 256 * MIB;

#[test]
fn host_with_many_oversize_namespaces() -> Result<()> {
    let region = debian::fresh()?;
    // What udev would look for on each of them takes longer than making it: that is left to the next boot.
    command::run("/bin/udevadm", &["control", "--stop-exec-queue"])?;
    for _ in 0..COUNT {
        creation::create(&NamespaceSpec { size_bytes: SIZE, ..oversize(&region) })?;
    }
    debian::configure(ENFORCE_AND_HOLD)?;
    debian::install(PACKAGE)?;
    debian::armed()
}
