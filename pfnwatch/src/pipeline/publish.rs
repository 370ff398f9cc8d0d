//! Events are committed to the journal, and then told. What the journal remembers of an agent before is taken up.

use std::{io::Write, time::SystemTime};

use anyhow::Context as _;

use super::Pipeline;

/// So many events wait at most for the end of what they come from: a flood must not fill the memory.
const MOST_QUEUED: usize = 256;

impl<W: Write> Pipeline<W> {
    /// Commits what is queued, in one transaction, and tells the sinks then.
    pub(super) fn publish(&mut self) -> anyhow::Result<()> {
        if self.queue.is_empty() && self.kept.news().next().is_none() {
            return Ok(());
        }
        let mut events = std::mem::take(&mut self.queue);
        self.journal.commit(&mut events, &mut self.kept);
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
        if self.queue.len() < MOST_QUEUED { Ok(()) } else { self.publish() }
    }

    /// Looks after the journal; what could not be read of it at the start is taken up once it can.
    pub(super) fn check_journal(&mut self) -> anyhow::Result<()> {
        self.publish()?;
        self.journal.check(&mut self.kept, SystemTime::now());
        self.take_up_blocks();
        Ok(())
    }

    /// Takes up the info blocks that an agent before this one kept, once.
    pub(super) fn take_up_blocks(&mut self) {
        if self.kept.has_taken_up() {
            return;
        }
        if let Some(blocks) = self.journal.blocks() {
            self.kept.take_up(blocks);
        }
    }
}
