//! The info blocks of namespaces that are enabled, out of the kernel's memory: nothing is disabled for it.

use std::fs;

use anyhow::Context as _;
use pfnwatch_common::layout::Layout;
use pfnwatch_common::record::Block;
use pfnwatch_common::superblock;
use zerocopy::FromBytes as _;

use super::attach::{Links, Settings, attach_block_reader};
use super::ring::Ring;
use crate::kernel::libnvdimm;
use crate::kernel::libnvdimm::FunctionIds;
use crate::os::paths::Paths;

/// Room for one block at a time, and a few more in case something else in this process reads.
const RING_BYTES: u32 = 64 * 1024;

/// Reads info blocks while it lives: a probe sees this process's own reads of sysfs.
pub struct BlockReader {
    paths: Paths,
    ring: Ring,
    _links: Links,
}

impl BlockReader {
    /// Attaches the probe; `layout` is the kernel's, if it is already known.
    pub fn attach(paths: &Paths, layout: Option<Layout>) -> anyhow::Result<Self> {
        let settings = Settings {
            layout: layout.map_or_else(|| libnvdimm::running_layout(paths), Ok)?,
            functions: FunctionIds::new(),
            debug: false,
            ring_bytes: RING_BYTES,
            preallocate: false,
            reader: paths.own_process(),
            guard_id: 0,
            known_blocks: 1,
            pins: None,
        };
        let (links, ring) = attach_block_reader(&settings)?;
        Ok(Self { paths: paths.clone(), ring, _links: links })
    }

    /// The info block of a pfn or dax device that is bound; `None` if it is not, or if what was read is no block.
    pub fn read(&mut self, device: &str) -> anyhow::Result<Option<Box<[u8; superblock::SIZE]>>> {
        let attribute = self.paths.sysfs.join("bus/nd/devices").join(device).join("align");
        // The content does not matter: the probe sees the read.
        fs::read(&attribute).with_context(|| format!("{} cannot be read", attribute.display()))?;
        let mut found = None;
        while let Some(record) = self.ring.take_record() {
            if let Ok(record) = Block::read_from_bytes(&record)
                && record.head.device.as_str() == Some(device)
                && let Some(block) = superblock::from_kernel_memory(&record.block)
            {
                found = Some(Box::new(block));
            }
        }
        Ok(found)
    }
}
