//! The way of an event out of the agent: it is committed to the event store first, and then logged.

use std::io::Write;
use std::time::SystemTime;

use anyhow::Context as _;

use super::event_summary::EventSummary;
use super::failure::Fatal;
use crate::export::event_log::Log;
use crate::guard::info_block_cache::InfoBlockCache;
use crate::model::event::Event;
use crate::model::store::UnsavedBlocks as _;
use crate::store::EventStore;
use crate::sysfs::cgroup::Cgroups;

/// So many events are queued at most: a flood must not fill the memory.
const MAX_QUEUED: usize = 256;

/// The event store, the log, and the events and info blocks that they do not have yet.
pub(super) struct Publisher<W> {
    cgroups: Option<Cgroups>,
    log: Log<W>,
    store: EventStore,
    /// They are committed in the same transactions as the events.
    info_blocks: InfoBlockCache,
    summary: EventSummary,
    queue: Vec<Event>,
}

impl<W: Write> Publisher<W> {
    pub(super) fn new(cgroups: Option<Cgroups>, log: Log<W>, store: EventStore) -> Self {
        Self {
            cgroups,
            log,
            store,
            info_blocks: InfoBlockCache::default(),
            summary: EventSummary::default(),
            queue: Vec::new(),
        }
    }

    /// Queues an event for the next [`Self::publish`].
    ///
    /// # Errors
    /// Standard output is gone.
    pub(super) fn emit(&mut self, mut event: Event) -> Result<(), Fatal> {
        // The actor of a request over the control socket comes with a path, and without a number.
        if let (Some(actor), Some(cgroups)) = (event.actor_mut().filter(|it| it.cgroup_id != 0), &mut self.cgroups) {
            actor.cgroup = cgroups.path(actor.cgroup_id);
        }
        self.summary.record(&event);
        self.queue.push(event);
        if self.queue.len() < MAX_QUEUED { Ok(()) } else { self.publish() }
    }

    /// Commits what is queued, in one transaction, and logs it then.
    ///
    /// # Errors
    /// Standard output is gone.
    pub(super) fn publish(&mut self) -> Result<(), Fatal> {
        if self.queue.is_empty() && self.info_blocks.dirty().next().is_none() {
            return Ok(());
        }
        let mut events = std::mem::take(&mut self.queue);
        self.store.commit(&mut events, &mut self.info_blocks);
        for event in &events {
            let written = self.log.write(event).context("standard output does not accept the event");
            written.map_err(Fatal::new)?;
        }
        // The allocation is used for the next events.
        events.clear();
        self.queue = events;
        Ok(())
    }

    /// Publishes, deletes what is too old, and restores the info blocks if that failed before.
    ///
    /// # Errors
    /// Standard output is gone.
    pub(super) fn check_store(&mut self, now: SystemTime) -> Result<(), Fatal> {
        self.publish()?;
        self.store.enforce_retention(&mut self.info_blocks, now);
        self.restore_blocks();
        Ok(())
    }

    /// Restores the info blocks that an earlier agent has saved, once.
    pub(super) fn restore_blocks(&mut self) {
        if self.info_blocks.is_restored() {
            return;
        }
        if let Some(blocks) = self.store.blocks() {
            self.info_blocks.restore(blocks);
        }
    }

    pub(super) const fn store(&self) -> &EventStore {
        &self.store
    }

    pub(super) const fn store_mut(&mut self) -> &mut EventStore {
        &mut self.store
    }

    pub(super) const fn info_blocks(&self) -> &InfoBlockCache {
        &self.info_blocks
    }

    pub(super) const fn info_blocks_mut(&mut self) -> &mut InfoBlockCache {
        &mut self.info_blocks
    }

    pub(super) const fn summary(&self) -> &EventSummary {
        &self.summary
    }
}
