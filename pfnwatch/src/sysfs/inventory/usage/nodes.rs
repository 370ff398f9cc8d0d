//! Names of devices by their numbers: a device can be opened and mounted by any node and link in any mount namespace.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use nix::sys::stat::{major, minor};

use super::{SysfsRoots, is_partition, names_in};

/// The names of block devices, their partitions and dax devices.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    block: BTreeMap<String, String>,
    character: BTreeMap<String, String>,
    /// Whether sysfs is this host's own, so that numbers of open nodes are those of sysfs.
    own: bool,
}

impl Nodes {
    pub(super) fn read(roots: &SysfsRoots) -> Self {
        let number = |folder: &Path| Some(fs::read_to_string(folder.join("dev")).ok()?.trim().to_owned());
        let mut nodes = Self { own: roots.dev.is_some(), ..Self::default() };
        let block = roots.sysfs.join("block");
        for disk in names_in(&block) {
            let folder = block.join(&disk);
            for part in names_in(&folder).into_iter().filter(|name| is_partition(name, &disk)) {
                nodes.block.extend(number(&folder.join(&part)).map(|number| (number, part)));
            }
            nodes.block.extend(number(&folder).map(|number| (number, disk)));
        }
        let dax = roots.sysfs.join("bus/dax/devices");
        for device in names_in(&dax) {
            nodes.character.extend(number(&dax.join(&device)).map(|number| (number, device)));
        }
        nodes
    }

    /// The block device with this number, such as `259:0`.
    pub(super) fn block(&self, number: &str) -> Option<String> {
        self.block.get(number).cloned()
    }

    /// The device of a path below `/dev`; `None` for others than block and dax devices.
    pub(super) fn name(&self, path: &str) -> Option<String> {
        let below = path.strip_prefix("/dev/")?;
        let known = below.starts_with("pmem") || below.starts_with("dax");
        self.by_number(Path::new(path)).or_else(|| known.then(|| below.to_owned()))
    }

    /// The device that a file descriptor (its link in procfs) has open.
    pub(super) fn opened(&self, link: &Path) -> Option<String> {
        let target = fs::read_link(link).ok()?;
        // Only nodes are looked at by their numbers: a file of a network file system could block.
        let target = target.to_str().filter(|target| target.starts_with("/dev/"))?;
        self.by_number(link).or_else(|| self.name(target))
    }

    fn by_number(&self, path: &Path) -> Option<String> {
        let node = self.own.then(|| fs::metadata(path).ok()).flatten()?;
        let number = format!("{}:{}", major(node.rdev()), minor(node.rdev()));
        let (block, character) = (node.file_type().is_block_device(), node.file_type().is_char_device());
        let names = if block { Some(&self.block) } else { character.then_some(&self.character) };
        names?.get(&number).cloned()
    }
}
