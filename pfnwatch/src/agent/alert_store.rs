//! The event store as the place where alerts and messages outlive the agent.

use std::time::{Duration, Instant, SystemTime};

use crate::export::alerts::{AlertChange, Dispatcher, FiringAlert, FiringAlerts, Message, outbox::OutboxStore};
use crate::store::{AlertRow, EventStore};

/// When a message is tried again that its receiver will never take.
const NEVER: Duration = Duration::from_secs(253_370_764_800);

/// As many of those are kept, the newest.
const MAX_GIVEN_UP: usize = 256;

impl OutboxStore for EventStore {
    fn put(&mut self, message: &Message, fingerprint: &str) -> Option<i64> {
        let payload = serde_json::to_string(message).ok()?;
        Self::put(self, &message.receiver, fingerprint, message.state(), &payload)
    }

    fn forget(&mut self, id: i64) -> Option<()> {
        self.delivered(id)
    }

    fn postpone(&mut self, id: i64, next: SystemTime, error: &str) -> Option<()> {
        self.failed(id, next, error)
    }

    fn give_up(&mut self, id: i64, error: &str) -> Option<()> {
        self.failed(id, never(), error)
    }
}

fn never() -> SystemTime {
    SystemTime::UNIX_EPOCH + NEVER
}

/// Notes that an alert begins, or has ended.
pub fn remember(journal: &mut EventStore, change: &AlertChange) {
    let AlertChange { fingerprint, firing: stood, ended, .. } = change;
    // Where the event store does not take it, its health says so.
    let _ = match (ended, serde_json::to_string(stood)) {
        (Some(_), _) => journal.delete_alert(fingerprint),
        (None, Ok(json)) => {
            journal.save_alert(&AlertRow { fingerprint: fingerprint.clone(), json, since: stood.since })
        }
        (None, Err(error)) => {
            tracing::error!("an alert cannot be kept: {error}");
            None
        }
    };
}

/// Goes on from what the agent before this one left; false where the event store cannot be read now.
#[must_use]
pub fn restore(journal: &mut EventStore, standing: &mut FiringAlerts, courier: &mut Dispatcher, now: Instant) -> bool {
    let (Some(stood), Some(waiting)) = (journal.firing_alerts(), journal.due(never(), u32::MAX)) else {
        return false;
    };
    standing.adopt(stood.iter().filter_map(|row| of_json::<FiringAlert>(&row.json)));
    let (given_up, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|row| row.next_try >= never());
    for row in given_up.iter().rev().skip(MAX_GIVEN_UP) {
        let _ = journal.delivered(row.id);
    }
    for row in waiting {
        match of_json::<Message>(&row.payload) {
            Some(message) => courier.outbox_mut().restore(message, row.attempts, row.id, now),
            // It is of another version: it stays for people to read.
            None => {
                let _ = journal.failed(row.id, never(), "this pfnwatch does not understand it");
            }
        }
    }
    true
}

fn of_json<T: serde::de::DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).inspect_err(|error| tracing::error!("a kept alert is not understood: {error}")).ok()
}
