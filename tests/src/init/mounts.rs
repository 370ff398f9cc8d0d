//! The file systems that tests need.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

/// Type and place, in order.
const MOUNTS: [(&str, &str); 10] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
    ("securityfs", "/sys/kernel/security"),
    ("bpf", "/sys/fs/bpf"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
    ("cgroup2", "/sys/fs/cgroup"),
];

pub(super) fn mount_all() -> Result<()> {
    for (kind, place) in MOUNTS {
        if !Path::new(place).is_dir() {
            fs::create_dir_all(place).with_context(|| format!("cannot create {place}"))?;
        }
        // As every distribution has it: what root makes in /run is nobody else's.
        let options = (place == "/run").then_some("mode=755");
        mount(Some(kind), place, Some(kind), MsFlags::empty(), options)
            .with_context(|| format!("cannot mount {kind} on {place}"))?;
    }
    for (target, link) in [("/proc/self/fd", "/dev/fd"), ("/proc/self/mounts", "/etc/mtab")] {
        symlink(target, link).with_context(|| format!("cannot link {link}"))?;
    }
    Ok(())
}
