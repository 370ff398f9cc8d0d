//! The disk of machines that are booted one after the other: it has programs that are too large for the initramfs, and
//! keeps what is written to it for the next boot.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount, umount};

use crate::modules;

pub const PLACE: &str = "/disk";
pub const STORE: &str = "/disk/pfnwatch.db";
pub const PROMETHEUS: &str = "/disk/bin/prometheus";
pub const ALERTMANAGER: &str = "/disk/bin/alertmanager";

const DEVICE: &str = "/dev/vda";
/// The path of templates is compiled into Debian's Alertmanager.
const SHARED: &str = "/usr/share/prometheus";

/// The mounted disk. Dropping it unmounts it: all its users must have ended.
pub struct Disk(());

impl Disk {
    pub fn mount() -> Result<Self> {
        for module in ["virtio_pci", "virtio_blk"] {
            modules::load(module)?;
        }
        fs::create_dir_all(PLACE)?;
        mount(Some(DEVICE), PLACE, Some("ext4"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("no disk {DEVICE}: was it not made? The boot's output has the reason"))?;
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
