//! What the agent shows of its events: how many of each kind there were, and the last lines.

use std::collections::{BTreeMap, VecDeque};

use crate::export::line;
use crate::model::event::{Body, Event};
use crate::model::view::EventLine;

/// How many of the last events are shown.
const MAX_LAST_EVENTS: usize = 20;

/// Counts by kind, and the last lines.
pub(super) struct EventSummary {
    counts: BTreeMap<&'static str, u64>,
    last: VecDeque<EventLine>,
}

impl Default for EventSummary {
    /// A kind that never came is 0, so that its first is an increase.
    fn default() -> Self {
        Self {
            counts: Body::KINDS.iter().map(|kind| (*kind, 0)).collect(),
            last: VecDeque::with_capacity(MAX_LAST_EVENTS),
        }
    }
}

impl EventSummary {
    pub(super) fn record(&mut self, event: &Event) {
        let kind = event.body.kind();
        let count = self.counts.entry(kind).or_default();
        *count = count.saturating_add(1);
        if self.last.len() >= MAX_LAST_EVENTS {
            self.last.pop_front();
        }
        self.last.push_back(EventLine { kind, text: line::of(event) });
    }

    /// How many events of each kind there were.
    pub(super) const fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// The last events, the oldest first.
    pub(super) fn last(&self) -> impl DoubleEndedIterator<Item = &EventLine> {
        self.last.iter()
    }
}
