//! The disk of machines that are booted one after the other: it has programs that are too large for the initramfs, and
//! keeps what is written to it for the next boot.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount, umount};

use crate::modules;

/// Where it is mounted.
pub const PLACE: &str = "/disk";
/// Where the agent's event store is kept from one boot to the next.
pub const STORE: &str = "/disk/pfnwatch.db";
/// Prometheus, as Debian has it.
pub const PROMETHEUS: &str = "/disk/bin/prometheus";
/// Alertmanager, as Debian has it.
pub const ALERTMANAGER: &str = "/disk/bin/alertmanager";

/// What it is to Linux.
const DEVICE: &str = "/dev/vda";
/// Debian's Alertmanager has the place of its templates built in.
const SHARED: &str = "/usr/share/prometheus";

/// The mounted disk. It is unmounted when dropped: whoever uses it has to have ended by then.
pub struct Disk(());

impl Disk {
    /// Mounts it.
    pub fn mount() -> Result<Self> {
        for module in ["virtio_pci", "virtio_blk"] {
            modules::load(module)?;
        }
        fs::create_dir_all(PLACE)?;
        mount(Some(DEVICE), PLACE, Some("ext4"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("no disk {DEVICE}: was it not made? The boot says why"))?;
        if !Path::new(SHARED).exists() {
            fs::create_dir_all("/usr/share")?;
            symlink(format!("{PLACE}/share/prometheus"), SHARED).with_context(|| format!("no {SHARED}"))?;
        }
        Ok(Self(()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Where somebody still uses it the next boot finds it as after a power cut.
        if let Err(error) = umount(PLACE) {
            eprintln!("{PLACE} is not unmounted: {error}");
        }
    }
}
