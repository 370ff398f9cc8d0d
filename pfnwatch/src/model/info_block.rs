//! One info block that was seen on a namespace.

use pfnwatch_common::{InfoBlock, superblock};
use uuid::Uuid;

use crate::model::event::{BlockOrigin, NamespaceId, Time};
use crate::model::inventory::Namespace;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedInfoBlock {
    /// By its name when the block was last seen.
    pub namespace: NamespaceId,
    pub origin: BlockOrigin,
    pub last_seen: Time,
    /// Whether the namespace was enabled raw since, so that its block may be overwritten.
    pub raw_since: bool,
    pub destroyed: bool,
    pub contents: BlockContents,
}

/// A block. Kernels and ndctl write zeros behind the fields, which are then sufficient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockContents {
    /// The rest is zero.
    Fields(InfoBlock),
    Bytes(InfoBlock, Box<[u8; superblock::SIZE]>),
}

impl SavedInfoBlock {
    /// A block as it was on the media; `None` if it is no info block, or not this namespace's, or
    /// never was on the media.
    #[must_use]
    pub fn new(
        namespace: NamespaceId,
        bytes: Box<[u8; superblock::SIZE]>,
        origin: BlockOrigin,
        last_seen: Time,
    ) -> Option<Self> {
        let block = InfoBlock::from_block(bytes.as_slice()).ok()?;
        let owner = namespace.namespace_uuid.unwrap_or_default();
        if block.parent_uuid != owner.into_bytes() || block.is_virtual() {
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

    /// Whether it is the block of this namespace as it is now: nobody could have overwritten it.
    #[must_use]
    pub fn is_on(&self, namespace: &Namespace) -> bool {
        let NamespaceId { namespace_uuid, start_address, size_bytes, .. } = self.namespace;
        let uuid = namespace.uuid.clone().ok().filter(|uuid| !uuid.is_nil());
        let is_same = match namespace_uuid {
            Some(_) => namespace_uuid == uuid,
            None => uuid.is_none() && namespace.resource == Ok(start_address),
        };
        is_same && namespace.size == Ok(size_bytes) && !self.raw_since && !self.destroyed
    }

    #[must_use]
    pub const fn block(&self) -> &InfoBlock {
        match &self.contents {
            BlockContents::Fields(block) | BlockContents::Bytes(block, _) => block,
        }
    }

    /// Its 4 KiB as they were on the media.
    #[must_use]
    pub fn bytes(&self) -> Box<[u8; superblock::SIZE]> {
        match &self.contents {
            BlockContents::Fields(block) => Box::new(block.encode()),
            BlockContents::Bytes(_, bytes) => bytes.clone(),
        }
    }

    /// Whether the fields of another one are equal, except those that a kernel fills in.
    pub fn agrees(&self, other: &Self) -> bool {
        let plain = |block: &InfoBlock| InfoBlock { page_struct_size: 0, ..*block };
        plain(self.block()) == plain(other.block())
    }
}
