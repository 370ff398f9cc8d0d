//! The info block as it lies on a device that shows the namespace from its first byte.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use pfnwatch_common::superblock;

/// The 4 KiB of a block device that hold the info block; `None` if they cannot be read (not root, gone).
pub(super) fn read_block(dev: &Path, disk: &str) -> Option<Box<[u8; superblock::SIZE]>> {
    let mut block = Box::new([0; superblock::SIZE]);
    File::open(dev.join(disk)).ok()?.read_exact_at(block.as_mut_slice(), superblock::OFFSET).ok()?;
    Some(block)
}
