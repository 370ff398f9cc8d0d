//! Where the host's pseudo file systems are.

use std::path::PathBuf;
use std::{fs, process};

use clap::Args;
use nix::sys::statfs::{SYSFS_MAGIC, statfs};

/// Every command has these options: they follow its own.
const GLOBAL: &str = "Global options";

/// Where the host's pseudo file systems are mounted: elsewhere than usual in a container, and in tests.
#[derive(Args, Clone, Debug)]
pub struct Paths {
    /// Where sysfs is mounted
    #[arg(long = "path.sysfs", value_name = "DIR", default_value = "/sys", global = true, help_heading = GLOBAL)]
    pub sysfs: PathBuf,
    /// Where procfs is mounted
    #[arg(long = "path.procfs", value_name = "DIR", default_value = "/proc", global = true, help_heading = GLOBAL)]
    pub procfs: PathBuf,
}

impl Paths {
    /// Whether sysfs is the running kernel's, wherever it is mounted, and no copy of another's.
    #[must_use]
    pub fn is_own_sysfs(&self) -> bool {
        statfs(&self.sysfs).is_ok_and(|found| found.filesystem_type() == SYSFS_MAGIC)
    }

    /// This process as the kernel's programs know it. In a container its own number differs; the host's procfs has it.
    #[must_use]
    pub fn own_process(&self) -> u32 {
        let link = fs::read_link(self.procfs.join("self")).ok();
        link.and_then(|link| link.to_str()?.parse().ok()).unwrap_or_else(process::id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_not_taken_for_the_kernels_own() {
        let folder = tempfile::tempdir().unwrap();
        let own = Paths { sysfs: "/sys".into(), procfs: "/proc".into() };
        assert_eq!((own.is_own_sysfs(), own.own_process()), (true, process::id()));
        let copy = Paths { sysfs: folder.path().into(), procfs: folder.path().into() };
        assert_eq!((copy.is_own_sysfs(), copy.own_process()), (false, process::id()));
        std::os::unix::fs::symlink("4711", folder.path().join("self")).unwrap();
        assert_eq!(copy.own_process(), 4711);
    }
}
