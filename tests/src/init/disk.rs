//! A program on a disk: the guest's root file system is in memory, where the kernel counts a program's pages as another kind.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::command;

const PLACE: &str = "/run/disk";
const LIBRARIES: &str = "/lib/x86_64-linux-gnu";

/// Moves a program and its libraries to a disk, which has room for them and whose contents are lost, and mounts that
/// over those in memory, for later starts.
pub(super) fn install(program: &str, disk: &str) -> Result<()> {
    let disk = format!("/dev/{disk}");
    command::run("/bin/mkfs.ext4", &["-q", "-O", "^has_journal", &disk])?;
    fs::create_dir_all(PLACE).with_context(|| format!("cannot create {PLACE}"))?;
    mount(Some(disk.as_str()), PLACE, Some("ext4"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount {disk}"))?;
    put(Path::new(program))?;
    for library in ["libc.so.6", "libgcc_s.so.1"] {
        let library = Path::new(LIBRARIES).join(library);
        if library.exists() {
            put(&library)?;
        }
    }
    Ok(())
}

fn put(file: &Path) -> Result<()> {
    let copy = Path::new(PLACE).join(file.file_name().unwrap_or_default());
    fs::copy(file, &copy).with_context(|| format!("cannot copy {}", file.display()))?;
    mount(Some(&copy), file, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot mount {} over {}", copy.display(), file.display()))
}
