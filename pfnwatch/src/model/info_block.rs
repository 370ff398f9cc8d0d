//! One info block that was seen on a namespace.

use pfnwatch_common::{InfoBlock, superblock};
use uuid::Uuid;

use crate::model::event::{BlockOrigin, NamespaceId, Time};

/// An info block that was seen on a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedInfoBlock {
    /// The namespace, as it was named when the block was last seen.
    pub namespace: NamespaceId,
    /// How the block is known.
    pub origin: BlockOrigin,
    /// When it was last seen.
    pub last_seen: Time,
    /// Whether the namespace was enabled raw since, so that anybody may have written over the block.
    pub raw_since: bool,
    /// Whether the namespace was destroyed since.
    pub destroyed: bool,
    /// What is known of its bytes.
    pub contents: BlockContents,
}

/// A block. Kernels and ndctl leave everything behind the fields zero, and then the fields say all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockContents {
    /// The fields say all of it: the rest is zero.
    Fields(InfoBlock),
    /// The rest is not zero.
    Bytes(InfoBlock, Box<[u8; superblock::SIZE]>),
}

impl SavedInfoBlock {
    /// A block as it lay on the media; none where it is no info block, or not this namespace's.
    #[must_use]
    pub fn new(
        namespace: NamespaceId,
        bytes: Box<[u8; superblock::SIZE]>,
        origin: BlockOrigin,
        last_seen: Time,
    ) -> Option<Self> {
        let block = InfoBlock::from_block(bytes.as_slice()).ok()?;
        let owner = namespace.namespace_uuid.unwrap_or_default();
        if block.parent_uuid != owner.into_bytes() {
            return None;
        }
        let held =
            if block.encode() == *bytes { BlockContents::Fields(block) } else { BlockContents::Bytes(block, bytes) };
        Some(Self { namespace, origin, last_seen, raw_since: false, destroyed: false, contents: held })
    }

    /// Whether this is the block of a namespace by its name, its namespace uuid, its block uuid or its start address
    /// (`0x…`).
    #[must_use]
    pub fn is_of(&self, which: &str) -> bool {
        let address = which.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let uuid = Uuid::try_parse(which).ok();
        self.namespace.namespace == which
            || address == Some(self.namespace.start_address)
            || uuid.is_some_and(|uuid| {
                self.namespace.namespace_uuid == Some(uuid) || self.block().uuid == *uuid.as_bytes()
            })
    }

    /// What it says.
    #[must_use]
    pub const fn block(&self) -> &InfoBlock {
        match &self.contents {
            BlockContents::Fields(block) | BlockContents::Bytes(block, _) => block,
        }
    }

    /// Its 4 KiB as they lay on the media.
    #[must_use]
    pub fn bytes(&self) -> Box<[u8; superblock::SIZE]> {
        match &self.contents {
            BlockContents::Fields(block) => Box::new(block.encode()),
            BlockContents::Bytes(_, bytes) => bytes.clone(),
        }
    }

    /// Whether the fields of another one are the same, but for what a kernel fills in.
    pub fn agrees(&self, other: &Self) -> bool {
        let plain = |block: &InfoBlock| InfoBlock { page_struct_size: 0, ..*block };
        plain(self.block()) == plain(other.block())
    }
}
