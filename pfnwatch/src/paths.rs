//! Where the host's pseudo file systems are.

use std::path::PathBuf;

use clap::Args;

/// Where the host's pseudo file systems are mounted: elsewhere than usual in a container, and in tests.
#[derive(Args, Clone, Debug)]
pub struct Paths {
    /// Where sysfs is mounted
    #[arg(long = "path.sysfs", value_name = "DIR", default_value = "/sys", global = true)]
    pub sysfs: PathBuf,
    /// Where procfs is mounted
    #[arg(long = "path.procfs", value_name = "DIR", default_value = "/proc", global = true)]
    pub procfs: PathBuf,
}
