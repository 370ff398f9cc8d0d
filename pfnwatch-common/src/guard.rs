//! What the guard's two sides agree on beyond the policy.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The version of the maps that stay pinned while the guard runs without an agent; part of the pins' path. Increase it
/// whenever a map's key, value or meaning changes.
pub const PIN_VERSION: u32 = 5;

/// Where a namespace is, the key of `KNOWN_BLOCKS`. The start alone is not enough: two regions may have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct NamespacePlace {
    /// Physical address of the namespace's first byte.
    pub start: u64,
    /// `nd_region.id`, the number in `region0`.
    pub region: u64,
}

/// How many slots `REGION_EPOCHS` has. Regions that share one also share what makes their namespaces unseen.
pub const REGION_EPOCH_SLOTS: u32 = 64;

impl NamespacePlace {
    /// The slot of `REGION_EPOCHS` of the namespace's region.
    #[expect(clippy::cast_possible_truncation, reason = "the number is below that of the slots")]
    #[inline]
    #[must_use]
    pub const fn epoch_slot(&self) -> u32 {
        (self.region % REGION_EPOCH_SLOTS as u64) as u32
    }
}

/// Which info block a namespace has. A namespace without an entry in `KNOWN_BLOCKS` is unseen: it may have any block. So is one
/// whose region was enabled since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct KnownBlock {
    /// 1 if there is a valid block with this uuid, 0 if there is none.
    pub exists: u32,
    /// 1 while a set-up whose outcome is not known may have written another block.
    pub in_doubt: u32,
    /// The block uuid, in the order in which it is printed; zero without a block. As words, so that it is aligned.
    pub uuid: [u64; 2],
    /// The number in the region's slot of `REGION_EPOCHS` when this was found out.
    pub region_epoch: u64,
}

impl KnownBlock {
    pub const NONE: Self = Self { exists: 0, in_doubt: 0, uuid: [0; 2], region_epoch: 0 };

    #[inline]
    #[must_use]
    pub const fn of_uuid(uuid: [u64; 2]) -> Self {
        Self { exists: 1, uuid, ..Self::NONE }
    }

    #[inline]
    #[must_use]
    pub const fn found_in(self, region_epoch: u64) -> Self {
        Self { region_epoch, ..self }
    }

    /// What it means for a bind of a device with this uuid, which user space configured. `region_epoch`: the number in the
    /// region's slot now.
    #[inline]
    #[must_use]
    pub const fn lookup(&self, uuid: [u64; 2], region_epoch: u64) -> BlockLookup {
        if self.in_doubt != 0 || self.region_epoch != region_epoch {
            BlockLookup::MaybeKnown
        } else if self.exists != 0 && self.uuid[0] == uuid[0] && self.uuid[1] == uuid[1] {
            BlockLookup::Known
        } else {
            BlockLookup::Unknown
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockLookup {
    /// The bind finds its block: it is no creation.
    Known,
    /// Nobody knows: the guard allows the bind.
    MaybeKnown,
    /// There is no block with this uuid: the bind creates one.
    Unknown,
}

/// A write of a uuid in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct UuidStore {
    /// In nanoseconds since boot, suspend included.
    pub began_ns: u64,
    /// The kernel's address of the `struct device`.
    pub device: u64,
    /// The kernel's address of the pointer to its uuid.
    pub out: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_known_by_its_uuid_unless_it_is_in_doubt() {
        let block = KnownBlock::of_uuid([1, 2]);
        assert_eq!(block.lookup([1, 2], 0), BlockLookup::Known);
        assert_eq!(block.lookup([1, 3], 0), BlockLookup::Unknown);
        assert_eq!(KnownBlock::NONE.lookup([0, 0], 0), BlockLookup::Unknown, "no block has the null uuid");
        for block in [block, KnownBlock::NONE] {
            assert_eq!(KnownBlock { in_doubt: 1, ..block }.lookup([1, 2], 0), BlockLookup::MaybeKnown);
        }
    }

    #[test]
    fn what_was_known_before_a_region_was_enabled_is_unseen() {
        for block in [KnownBlock::of_uuid([1, 2]), KnownBlock::NONE] {
            assert_eq!(block.found_in(3).lookup([1, 2], 4), BlockLookup::MaybeKnown);
            assert_eq!(block.found_in(4).lookup([1, 3], 4), BlockLookup::Unknown);
        }
        let slot = |region| NamespacePlace { start: 0, region }.epoch_slot();
        assert!(slot(1) != slot(2) && slot(u64::from(u32::MAX)) < REGION_EPOCH_SLOTS);
    }
}
