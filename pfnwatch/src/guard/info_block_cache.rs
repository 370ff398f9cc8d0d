//! The info blocks that namespaces have or had, kept in memory: a reconfigure zeroes the old block before the guard can
//! refuse the new one, so that this may be the only copy.
//!
//! A namespace is known by its start address: `ndctl create-namespace --reconfig` gives it another namespace uuid, and
//! libnvdimm hands names out again.

#[cfg(test)]
mod tests;

use crate::model::store::UnsavedBlocks;
use std::collections::{BTreeMap, BTreeSet};

use pfnwatch_common::{InfoBlock, superblock};
use uuid::Uuid;

use crate::model::event::{
    BlockOrigin, BlockState, Body, Event, GuardDecision, NamespaceId, Probe, ProbeResult, ReplacedBlock, SetUp, Time,
};
use crate::model::info_block::BlockContents;
use crate::model::info_block::SavedInfoBlock;

/// For so many namespaces a block is kept. A block that a kernel made takes some 300 bytes.
pub const MAX_BLOCKS: usize = 4096;

/// The last block of each namespace.
#[derive(Debug, Default)]
pub struct InfoBlockCache {
    blocks: BTreeMap<u64, SavedInfoBlock>,
    /// Of which namespaces the journal does not have what is known, by their starts.
    dirty: BTreeSet<u64>,
    is_restored: bool,
    evicted: u64,
}

impl InfoBlockCache {
    /// Learns from an event, and tells the guard's events which block the namespace had before.
    pub fn follow(&mut self, event: &mut Event) {
        let time = event.time;
        match &mut event.body {
            Body::SetUp(setup) => self.set_up(setup, time),
            Body::Probe(probe) => self.probe(probe),
            Body::Destroy(change) => self.destroyed(change.namespace_uuid),
            Body::Denied(judged) => {
                judged.replaced = self.replaced_by(judged, true);
            }
            Body::WouldDeny(judged) | Body::Exempt(judged) | Body::Unjudged(judged) => {
                judged.replaced = self.replaced_by(judged, false);
            }
            _ => {}
        }
    }

    /// Keeps the 4 KiB that were read from a namespace. False where they are no block that a kernel takes for this
    /// namespace's: nothing is kept then, and nothing forgotten.
    pub fn read(&mut self, namespace: &NamespaceId, bytes: &[u8; superblock::SIZE], time: Time) -> bool {
        let Some(seen) = SavedInfoBlock::new(namespace.clone(), Box::new(*bytes), BlockOrigin::Read, time) else {
            return false;
        };
        self.insert(seen);
        true
    }

    /// The block of a namespace by its name, its namespace uuid, its block uuid or its start address (`0x…`): of several
    /// the one that was seen last.
    #[must_use]
    pub fn find(&self, which: &str) -> Option<&SavedInfoBlock> {
        self.blocks.values().filter(|kept| kept.is_of(which)).max_by_key(|kept| kept.last_seen)
    }

    /// Takes up what an agent before this one kept, the newest first. What is known already is newer.
    pub fn restore(&mut self, blocks: Vec<SavedInfoBlock>) {
        self.is_restored = true;
        for block in blocks {
            self.blocks.entry(block.namespace.start_address).or_insert(block);
            self.shrink();
        }
    }

    /// A namespace with this uuid (null where it has none) lies there: what is kept of another one there was destroyed while
    /// nobody looked.
    pub fn mark_replaced(&mut self, start: u64, uuid: Uuid) {
        let of_another = |kept: &&mut SavedInfoBlock| kept.namespace.namespace_uuid.unwrap_or_default() != uuid;
        if let Some(kept) = self.blocks.get_mut(&start).filter(of_another) {
            kept.destroyed = true;
            self.dirty.insert(start);
        }
    }

    /// Whether [`Self::take_up`] was called.
    #[must_use]
    pub const fn is_restored(&self) -> bool {
        self.is_restored
    }

    /// The block of the namespace that starts at this address.
    #[must_use]
    pub fn at(&self, start_address: u64) -> Option<&SavedInfoBlock> {
        self.blocks.get(&start_address)
    }

    /// How many blocks are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// How many fell out because there were more than [`MOST`].
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

    fn insert(&mut self, seen: SavedInfoBlock) {
        let (start, origin) = (seen.namespace.start_address, seen.origin);
        // A block that was read, or seen being made, is known better than from the head that is met again.
        let known = self.blocks.remove(&start);
        let kept = match known {
            Some(known)
                if origin == BlockOrigin::Accepted
                    && known.block().uuid == seen.block().uuid
                    && known.agrees(&seen) =>
            {
                SavedInfoBlock { contents: known.contents, origin: known.origin, ..seen }
            }
            _ => seen,
        };
        self.blocks.insert(start, kept);
        self.dirty.insert(start);
        self.shrink();
    }

    /// Lets the block go that was seen the longest ago, where there are too many.
    fn shrink(&mut self) {
        if self.blocks.len() <= MAX_BLOCKS {
            return;
        }
        let oldest = self.blocks.iter().min_by_key(|(_, kept)| (!kept.destroyed, kept.last_seen));
        let Some(start) = oldest.map(|(start, _)| *start) else { return };
        self.dirty.remove(&start);
        if let Some(kept) = self.blocks.remove(&start) {
            self.evicted = self.evicted.saturating_add(1);
            tracing::warn!(
                "more than {MAX_BLOCKS} namespaces: the info block of {} at {start:#x} is not kept any more",
                kept.namespace.namespace
            );
        }
    }

    /// A namespace that is enabled by its own driver, and not under a pfn or dax device, shows its info block to anybody.
    fn probe(&mut self, probe: &Probe) {
        let Some(namespace) = &probe.namespace else { return };
        if probe.result == ProbeResult::Enabled
            && probe.attempt.device == namespace.namespace
            && let Some(kept) = self.blocks.get_mut(&namespace.start_address)
        {
            kept.raw_since = true;
            self.dirty.insert(namespace.start_address);
        }
    }

    fn destroyed(&mut self, uuid: Option<Uuid>) {
        let Some(uuid) = uuid else { return };
        for kept in self.blocks.values_mut().filter(|kept| kept.namespace.namespace_uuid == Some(uuid)) {
            kept.destroyed = true;
            self.dirty.insert(kept.namespace.start_address);
        }
    }

    /// The block that a creation finds gone, or writes over.
    fn replaced_by(&self, judged: &GuardDecision, denied: bool) -> Option<ReplacedBlock> {
        let namespace = judged.namespace.as_ref()?;
        let kept = self.blocks.get(&namespace.start_address)?;
        let same = judged.block_uuid.is_some_and(|uuid| kept.block().uuid == *uuid.as_bytes());
        if kept.destroyed || (same && !kept.raw_since) {
            return None;
        }
        let block = kept.block();
        let still_there = denied && !kept.raw_since;
        let restore_commands = match (denied, still_there) {
            // What the new memmap was written over is gone: the old block alone would be of no use.
            (false, _) => Vec::new(),
            (true, true) => crate::model::restore_commands::commands_for_intact_block(&namespace.namespace),
            (true, false) => crate::model::restore_commands::commands(&namespace.namespace, kept),
        };
        Some(ReplacedBlock {
            namespace_uuid: kept.namespace.namespace_uuid,
            personality: block.kind,
            map: block.map(),
            align_bytes: block.align,
            block_uuid: Some(Uuid::from_bytes(block.uuid)),
            reservation_bytes: block.reservation(),
            dataoff_bytes: block.dataoff,
            npfns: block.npfns,
            last_seen: kept.last_seen,
            origin: kept.origin,
            still_there,
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
