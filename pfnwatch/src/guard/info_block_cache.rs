//! The info blocks that namespaces have or had, kept in memory: a reconfigure zeroes the old block before the guard can
//! refuse the new one, so that this may be the only copy.
//!
//! A namespace is known by its start address: `ndctl create-namespace --reconfig` gives it another namespace uuid, and
//! libnvdimm hands names out again.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use pfnwatch_common::{InfoBlock, superblock};
use uuid::Uuid;

use crate::model::event::{
    BlockOrigin, BlockState, Body, Event, GuardDecision, NamespaceId, Probe, ProbeResult, ReplacedBlock, SetUp, Time,
};
use crate::model::info_block::{BlockContents, SavedInfoBlock};
use crate::model::restore_commands;
use crate::model::store::UnsavedBlocks;

/// The blocks of so many namespaces are saved. A block that a kernel made takes some 300 bytes.
pub const MAX_BLOCKS: usize = 4096;

/// The last block of each namespace.
#[derive(Debug, Default)]
pub struct InfoBlockCache {
    blocks: BTreeMap<u64, SavedInfoBlock>,
    /// Of which namespaces the event store does not have what is old, by their starts.
    dirty: BTreeSet<u64>,
    is_restored: bool,
    evicted: u64,
}

impl InfoBlockCache {
    /// Learns from an event, and adds to the guard's events which block the namespace had before.
    pub fn follow(&mut self, event: &mut Event) {
        let time = event.time;
        match &mut event.body {
            Body::SetUp(setup) => self.set_up(setup, time),
            Body::Probe(probe) => self.probe(probe),
            Body::Destroy(change) => self.destroyed(change.namespace_uuid),
            Body::Denied(decision) => {
                decision.replaced = self.replaced_by(decision, true);
            }
            Body::WouldDeny(decision) | Body::Exempt(decision) | Body::Unjudged(decision) => {
                decision.replaced = self.replaced_by(decision, false);
            }
            _ => {}
        }
    }

    /// Saves the 4 KiB that were read from a namespace. Returns false if they are no block that a kernel accepts for this
    /// namespace: nothing changes then.
    pub fn read(&mut self, namespace: &NamespaceId, bytes: &[u8; superblock::SIZE], time: Time) -> bool {
        let Some(block) = SavedInfoBlock::new(namespace.clone(), Box::new(*bytes), BlockOrigin::Read, time) else {
            return false;
        };
        self.insert(block);
        true
    }

    /// The block of a namespace by its name, its namespace uuid, its block uuid or its start address (`0x…`): of several
    /// the one that was seen last.
    #[must_use]
    pub fn find(&self, which: &str) -> Option<&SavedInfoBlock> {
        self.blocks.values().filter(|block| block.is_of(which)).max_by_key(|block| block.last_seen)
    }

    /// Adds the blocks that an earlier agent has saved, the newest first. Those that are here already are newer.
    pub fn restore(&mut self, blocks: Vec<SavedInfoBlock>) {
        self.is_restored = true;
        for block in blocks {
            self.blocks.entry(block.namespace.start_address).or_insert(block);
            self.shrink();
        }
    }

    /// A namespace with this uuid (null if it has none) starts there: another one, whose block is saved, was destroyed while no
    /// agent ran.
    pub fn mark_replaced(&mut self, start: u64, uuid: Uuid) {
        let of_another = |block: &&mut SavedInfoBlock| block.namespace.namespace_uuid.unwrap_or_default() != uuid;
        if let Some(block) = self.blocks.get_mut(&start).filter(of_another) {
            block.destroyed = true;
            self.dirty.insert(start);
        }
    }

    /// Whether [`Self::restore`] was called.
    #[must_use]
    pub const fn is_restored(&self) -> bool {
        self.is_restored
    }

    /// All blocks.
    pub fn iter(&self) -> impl Iterator<Item = &SavedInfoBlock> {
        self.blocks.values()
    }

    /// The block of the namespace that starts at this address.
    #[must_use]
    pub fn at(&self, start_address: u64) -> Option<&SavedInfoBlock> {
        self.blocks.get(&start_address)
    }

    /// How many blocks are saved.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// How many were evicted because there were more than [`MAX_BLOCKS`].
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn set_up(&mut self, setup: &SetUp, time: Time) {
        let (Some(namespace), Some(block)) = (&setup.namespace, setup.info_block) else { return };
        let origin = match setup.block {
            BlockState::Made => BlockOrigin::Made,
            BlockState::Existing => BlockOrigin::Accepted,
            BlockState::Rejected | BlockState::None | BlockState::Unknown => return,
        };
        // What nd_pfn_validate() fills in for versions that did not have it: on the media it is zero.
        let on_media = if block.version_minor < 4 { InfoBlock { page_struct_size: 0, ..block } } else { block };
        self.insert(SavedInfoBlock {
            namespace: namespace.clone(),
            origin,
            last_seen: time,
            raw_since: false,
            destroyed: false,
            contents: BlockContents::Fields(on_media),
        });
    }

    fn insert(&mut self, new: SavedInfoBlock) {
        let (start, origin) = (new.namespace.start_address, new.origin);
        // A block that was read, or seen being made, is more complete than the head that is met again.
        let block = match self.blocks.remove(&start) {
            Some(old)
                if origin == BlockOrigin::Accepted && old.block().uuid == new.block().uuid && old.agrees(&new) =>
            {
                SavedInfoBlock { contents: old.contents, origin: old.origin, ..new }
            }
            _ => new,
        };
        self.blocks.insert(start, block);
        self.dirty.insert(start);
        self.shrink();
    }

    /// Evicts the block that was seen the longest ago, if there are too many.
    fn shrink(&mut self) {
        if self.blocks.len() <= MAX_BLOCKS {
            return;
        }
        let oldest = self.blocks.iter().min_by_key(|(_, block)| (!block.destroyed, block.last_seen));
        let Some(start) = oldest.map(|(start, _)| *start) else { return };
        self.dirty.remove(&start);
        if let Some(block) = self.blocks.remove(&start) {
            self.evicted = self.evicted.saturating_add(1);
            tracing::warn!(
                "more than {MAX_BLOCKS} namespaces: the info block of {} at {start:#x} is not kept any more",
                block.namespace.namespace
            );
        }
    }

    /// A namespace that is enabled by its own driver, and not under a pfn or dax device, shows its info block to anybody.
    fn probe(&mut self, probe: &Probe) {
        let Some(namespace) = &probe.namespace else { return };
        if probe.result == ProbeResult::Enabled
            && probe.attempt.device == namespace.namespace
            && let Some(block) = self.blocks.get_mut(&namespace.start_address)
        {
            block.raw_since = true;
            self.dirty.insert(namespace.start_address);
        }
    }

    fn destroyed(&mut self, uuid: Option<Uuid>) {
        let Some(uuid) = uuid else { return };
        for block in self.blocks.values_mut().filter(|block| block.namespace.namespace_uuid == Some(uuid)) {
            block.destroyed = true;
            self.dirty.insert(block.namespace.start_address);
        }
    }

    /// The block that a creation finds zeroed, or overwrites.
    fn replaced_by(&self, decision: &GuardDecision, denied: bool) -> Option<ReplacedBlock> {
        let namespace = decision.namespace.as_ref()?;
        let saved = self.blocks.get(&namespace.start_address)?;
        let block = saved.block();
        let is_same = decision.block_uuid.is_some_and(|uuid| block.uuid == *uuid.as_bytes());
        if saved.destroyed || (is_same && !saved.raw_since) {
            return None;
        }
        let still_on_media = denied && !saved.raw_since;
        let restore_commands = match (denied, still_on_media) {
            // The new memmap has overwritten data: the old block alone would be of no use.
            (false, _) => Vec::new(),
            (true, true) => restore_commands::commands_for_intact_block(&namespace.namespace),
            (true, false) => restore_commands::commands(&namespace.namespace, saved),
        };
        Some(ReplacedBlock {
            namespace_uuid: saved.namespace.namespace_uuid,
            personality: block.kind,
            map: block.map(),
            align_bytes: block.align,
            block_uuid: Some(Uuid::from_bytes(block.uuid)),
            reservation_bytes: block.reservation(),
            dataoff_bytes: block.dataoff,
            npfns: block.npfns,
            last_seen: saved.last_seen,
            origin: saved.origin,
            still_on_media,
            restore_commands,
        })
    }
}

impl UnsavedBlocks for InfoBlockCache {
    fn dirty(&self) -> impl Iterator<Item = &SavedInfoBlock> {
        self.dirty.iter().filter_map(|start| self.blocks.get(start))
    }

    fn mark_saved(&mut self) {
        self.dirty.clear();
    }

    fn mark_all_dirty(&mut self) {
        self.dirty = self.blocks.keys().copied().collect();
    }
}
