//! Messages that are not delivered yet: in memory, and each with its row in the journal as long as that takes it. Pure but
//! for what the [`Keeper`] does.
//!
//! A receiver gets what concerns one alert in its order. Where an alert comes and goes while a receiver is away, what lies
//! between its first beginning and its last state is left out: the receiver still learns that it began, and how it is now.

use crate::model::control::PendingMessage;
use std::time::{Duration, Instant, SystemTime};

use super::Message;

/// The limit of waiting messages for all receivers, which is more than a host has alerts.
const MAX_MESSAGES: usize = 4096;

/// Where messages outlive the agent. `None` means "not now": the caller retries.
pub trait OutboxStore {
    fn put(&mut self, message: &Message, fingerprint: &str) -> Option<i64>;
    fn forget(&mut self, id: i64) -> Option<()>;
    fn postpone(&mut self, id: i64, next: SystemTime, error: &str) -> Option<()>;
    /// Keeps it as one that the receiver rejected.
    fn give_up(&mut self, id: i64, error: &str) -> Option<()>;
}

#[derive(Clone, Debug)]
pub struct Waiting {
    pub number: u64,
    pub message: Message,
    pub fingerprint: String,
    pub attempts: u32,
    pub due: Instant,
    /// Its number in the store; `None` if that has not accepted it.
    pub id: Option<i64>,
}

/// All that waits, the oldest first.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Vec<Waiting>,
    next: u64,
}

impl Outbox {
    /// Restores a message that the previous agent could not deliver.
    pub fn restore(&mut self, message: Message, attempts: u32, id: i64, now: Instant) {
        self.push(message, attempts, Some(id), now);
        // What was kept late, since the journal failed for a while, has a later number than what came after it.
        self.waiting.sort_by_key(|it| (it.message.since, it.message.ended));
    }

    /// Adds a message, and removes those that it makes needless. Returns the messages that are dropped for lack of
    /// room.
    pub fn put(&mut self, message: Message, now: Instant, keeper: &mut dyn OutboxStore) -> Vec<Waiting> {
        let fingerprint = message.alert.fingerprint();
        let id = keeper.put(&message, &fingerprint);
        self.push(message, 0, id, now);
        self.merge(keeper);
        let too_many = self.waiting.len().saturating_sub(MAX_MESSAGES);
        self.waiting.drain(..too_many).collect()
    }

    fn push(&mut self, message: Message, attempts: u32, id: Option<i64>, due: Instant) {
        let fingerprint = message.alert.fingerprint();
        self.waiting.push(Waiting { number: self.next, message, fingerprint, attempts, due, id });
        self.next += 1;
    }

    /// Of "began, ended, began, ended" the two in the middle are dropped: the first may be in progress, and the last is
    /// the current state.
    fn merge(&mut self, keeper: &mut dyn OutboxStore) {
        let Some(last) = self.waiting.last() else { return };
        let same = |it: &&Waiting| it.fingerprint == last.fingerprint && it.message.receiver == last.message.receiver;
        let numbers: Vec<u64> = self.waiting.iter().filter(same).map(|it| it.number).collect();
        let &[_, second, third, _] = numbers.as_slice() else { return };
        for number in [second, third] {
            if let Some(id) = self.take(number).and_then(|it| it.id) {
                keeper.forget(id);
            }
        }
    }

    /// The next message for a receiver: the first of its alert that is due.
    #[must_use]
    pub fn next_for<'a>(&'a self, receiver: &str, now: Instant) -> Option<&'a Waiting> {
        self.heads(receiver).filter(|it| it.due <= now).min_by_key(|it| it.due)
    }

    #[must_use]
    pub fn due(&self, receiver: &str) -> Option<Instant> {
        self.heads(receiver).map(|it| it.due).min()
    }

    fn heads<'a>(&'a self, receiver: &str) -> impl Iterator<Item = &'a Waiting> {
        let mut seen = std::collections::BTreeSet::new();
        let own = self.waiting.iter().filter(move |it| it.message.receiver == receiver);
        own.filter(move |it| seen.insert(&it.fingerprint))
    }

    #[must_use]
    pub fn contains(&self, receiver: &str, fingerprint: &str) -> bool {
        self.waiting.iter().any(|it| it.message.receiver == receiver && it.fingerprint == fingerprint)
    }

    #[must_use]
    pub fn count(&self, receiver: &str) -> u64 {
        let count = self.waiting.iter().filter(|it| it.message.receiver == receiver).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter()
    }

    pub fn take(&mut self, number: u64) -> Option<Waiting> {
        let at = self.waiting.iter().position(|it| it.number == number)?;
        Some(self.waiting.remove(at))
    }

    /// Removes and returns the messages for other receivers.
    pub fn drain_unknown_receivers(&mut self, receivers: &[String]) -> Vec<Waiting> {
        self.waiting.extract_if(.., |it| !receivers.contains(&it.message.receiver)).collect()
    }

    /// Records a failed attempt: the next one is after the pause.
    pub fn postpone(&mut self, number: u64, now: Instant, pause: Duration) -> Option<&Waiting> {
        let waiting = self.waiting.iter_mut().find(|it| it.number == number)?;
        waiting.attempts = waiting.attempts.saturating_add(1);
        waiting.due = now + pause;
        Some(waiting)
    }

    /// Saves messages that the store did not accept before.
    pub fn save(&mut self, keeper: &mut dyn OutboxStore) {
        for waiting in self.waiting.iter_mut().filter(|it| it.id.is_none()) {
            waiting.id = keeper.put(&waiting.message, &waiting.fingerprint);
            if waiting.id.is_none() {
                return;
            }
        }
    }
}

impl From<&Waiting> for PendingMessage {
    fn from(it: &Waiting) -> Self {
        Self {
            receiver: it.message.receiver.clone(),
            alert: it.message.alert.name.to_string(),
            fingerprint: it.fingerprint.clone(),
            state: it.message.state().to_owned(),
            attempts: it.attempts,
            saved: it.id.is_some(),
        }
    }
}
