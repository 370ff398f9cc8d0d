//! Alerts and undelivered messages in the event store, where they outlive the agent.

use std::time::{Duration, SystemTime};

use crate::export::alerts::outbox::OutboxStore;
use crate::export::alerts::{AlertChange, Dispatcher, FiringAlert, FiringAlerts, Message};
use crate::store::{AlertRow, EventStore};

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
        Self::give_up(self, id, error)
    }
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
pub fn restore(store: &mut EventStore, firing: &mut FiringAlerts, dispatcher: &mut Dispatcher, now: Duration) -> bool {
    let (Some(alerts), Some(pending)) = (store.firing_alerts(), store.undelivered()) else { return false };
    firing.adopt(alerts.iter().filter_map(|row| of_json::<FiringAlert>(&row.json)));
    let mut messages = Vec::new();
    for row in pending {
        match of_json::<Message>(&row.payload) {
            Some(message) => messages.push((message, row.attempts, row.id)),
            // It is of another version: it stays for people to read.
            None => {
                let _ = store.give_up(row.id, "this pfnwatch does not understand it");
            }
        }
    }
    dispatcher.outbox_mut().restore(messages, now, store);
    true
}

fn of_json<T: serde::de::DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).inspect_err(|error| tracing::error!("a kept alert is not understood: {error}")).ok()
}
