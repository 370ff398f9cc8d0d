//! What only `plan` asks of a namespace: read when it is needed, so that a scan stays fast.

use std::path::Path;

use super::{SysfsRoots, attribute::Directory};
use crate::model::inventory::{Attribute, Namespace};

#[derive(Clone, Debug)]
pub struct Detail {
    /// 4 for io (no labels: e820, legacy), 5 for pmem.
    pub nstype: Attribute<u64>,
    /// Devices that are stacked on its block device: dm, md.
    pub stacked: Vec<String>,
}

impl Detail {
    pub fn read(roots: &SysfsRoots, namespace: &Namespace) -> Attribute<Self> {
        let directory = Directory::open(&roots.sysfs.join("bus/nd/devices").join(&namespace.name))?;
        Ok(Self {
            nstype: directory.number("nstype"),
            stacked: namespace.disk().map(|disk| stacked_on(&roots.sysfs, &disk)).unwrap_or_default(),
        })
    }
}

fn stacked_on(sysfs: &Path, disk: &str) -> Vec<String> {
    let holders = sysfs.join("block").join(disk).join("holders");
    let mut names = super::list(&holders).unwrap_or_default();
    names.sort();
    names
}
