//! Events that could not be written yet.

use std::collections::VecDeque;

use crate::model::event::Event;

/// At most so many events wait to be written.
const MAX_PENDING: usize = 1000;

/// Events that could not be written yet, the oldest first.
#[derive(Debug, Default)]
pub(super) struct PendingEvents {
    pub(super) events: VecDeque<Event>,
    /// How many were dropped because there were too many.
    pub(super) dropped: u64,
}

impl PendingEvents {
    /// Returns whether the oldest event was dropped.
    pub(super) fn push(&mut self, event: Event) -> bool {
        let is_full = self.events.len() == MAX_PENDING;
        if is_full {
            self.events.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.events.push_back(event);
        is_full
    }
}
