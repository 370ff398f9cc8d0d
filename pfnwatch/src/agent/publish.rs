//! Events are committed to the event store, and then told. What the event store remembers of an agent before is taken up.

use crate::model::store::UnsavedBlocks as _;
use std::{io::Write, time::SystemTime};

use anyhow::Context as _;

use super::Agent;

/// So many events wait at most for the end of what they come from: a flood must not fill the memory.
const MAX_QUEUED: usize = 256;

impl<W: Write> Agent<W> {
    /// Commits what is queued, in one transaction, and tells the sinks then.
    pub(super) fn publish(&mut self) -> anyhow::Result<()> {
        if self.queue.is_empty() && self.info_blocks.dirty().next().is_none() {
            return Ok(());
        }
        let mut events = std::mem::take(&mut self.queue);
        self.store.commit(&mut events, &mut self.info_blocks);
        for event in &events {
            self.log.write(event).context("standard output does not take the event")?;
        }
        // The room stays for the next ones.
        events.clear();
        self.queue = events;
        Ok(())
    }

    /// The same, where many wait.
    pub(super) fn publish_if_many(&mut self) -> anyhow::Result<()> {
        if self.queue.len() < MAX_QUEUED { Ok(()) } else { self.publish() }
    }

    /// Looks after the event store; what could not be read of it at the start is taken up once it can.
    pub(super) fn check_store(&mut self) -> anyhow::Result<()> {
        self.publish()?;
        self.store.enforce_retention(&mut self.info_blocks, SystemTime::now());
        self.restore_blocks();
        Ok(())
    }

    /// Takes up the info blocks that an agent before this one kept, once.
    pub(super) fn restore_blocks(&mut self) {
        if self.info_blocks.is_restored() {
            return;
        }
        if let Some(blocks) = self.store.blocks() {
            self.info_blocks.restore(blocks);
        }
    }
}
