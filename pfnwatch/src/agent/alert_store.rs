//! Alerts and undelivered messages in the event store, where they outlive the agent.

use std::time::{Duration, Instant, SystemTime};

use crate::export::alerts::{AlertChange, Dispatcher, FiringAlert, FiringAlerts, Message, outbox::OutboxStore};
use crate::store::{AlertRow, EventStore};

/// When a message is retried that its receiver will never accept, after 1970.
const NEVER: Duration = Duration::from_secs(253_370_764_800);

/// So many of those messages are kept, the newest.
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

/// Saves that an alert began to fire, or ended.
pub fn remember(store: &mut EventStore, change: &AlertChange) {
    let AlertChange { fingerprint, firing, ended, .. } = change;
    // If the store fails, its health shows it.
    let _ = match (ended, serde_json::to_string(firing)) {
        (Some(_), _) => store.delete_alert(fingerprint),
        (None, Ok(json)) => store.save_alert(&AlertRow { fingerprint: fingerprint.clone(), json, since: firing.since }),
        (None, Err(error)) => {
            tracing::error!("an alert cannot be kept: {error}");
            None
        }
    };
}

/// Continues with the alerts and messages of an earlier agent; false if the store cannot be read now.
#[must_use]
pub fn restore(store: &mut EventStore, firing: &mut FiringAlerts, dispatcher: &mut Dispatcher, now: Instant) -> bool {
    let (Some(alerts), Some(pending)) = (store.firing_alerts(), store.due(never(), u32::MAX)) else {
        return false;
    };
    firing.adopt(alerts.iter().filter_map(|row| of_json::<FiringAlert>(&row.json)));
    let (given_up, pending): (Vec<_>, Vec<_>) = pending.into_iter().partition(|row| row.next_try >= never());
    for row in given_up.iter().rev().skip(MAX_GIVEN_UP) {
        let _ = store.delivered(row.id);
    }
    for row in pending {
        match of_json::<Message>(&row.payload) {
            Some(message) => dispatcher.outbox_mut().restore(message, row.attempts, row.id, now),
            // It is of another version: it stays for people to read.
            None => {
                let _ = store.failed(row.id, never(), "this pfnwatch does not understand it");
            }
        }
    }
    true
}

fn of_json<T: serde::de::DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).inspect_err(|error| tracing::error!("a kept alert is not understood: {error}")).ok()
}
