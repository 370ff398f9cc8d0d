//! Messages that are not yet delivered: in memory, and each with its row in the event store if that accepts it. Pure
//! except for the [`OutboxStore`].
//!
//! A receiver gets the messages about one alert in their order. If an alert begins and ends several times while a
//! receiver is unreachable, the messages between its first start and its last state are dropped: the receiver still
//! gets its start and its current state.

use crate::model::control::PendingMessage;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::Message;

/// The limit of waiting messages for each receiver: three for each alert of a host that has as many as there can be (rules.rs).
const MAX_MESSAGES: usize = 2048;

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
    /// The time since boot.
    pub due: Duration,
    /// Its number in the store; `None` if that has not accepted it.
    pub id: Option<i64>,
}

/// All that waits, the oldest first.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Vec<Waiting>,
    next: u64,
    /// How many messages for each receiver were dropped as needless.
    merged: BTreeMap<String, u64>,
}

impl Outbox {
    /// Restores the messages that the previous agent could not deliver, with their attempts and numbers in the store, without
    /// those that are needless by now.
    pub fn restore(&mut self, messages: Vec<(Message, u32, i64)>, now: Duration, keeper: &mut dyn OutboxStore) {
        for (message, attempts, id) in messages {
            self.push(message, attempts, Some(id), now);
        }
        // What was kept late, since the event store failed for a while, has a later number than what came after it.
        self.waiting.sort_by_key(|it| (it.message.since, it.message.ended));
        self.merge(keeper, |_| true);
    }

    /// Adds a message, and removes those that it makes needless.
    pub fn put(&mut self, message: Message, now: Duration, keeper: &mut dyn OutboxStore) {
        let fingerprint = message.alert.fingerprint();
        let receiver = message.receiver.clone();
        let id = keeper.put(&message, &fingerprint);
        self.push(message, 0, id, now);
        self.merge(keeper, |it| it.fingerprint == fingerprint && it.message.receiver == receiver);
    }

    /// Removes and returns the oldest messages for a receiver that has too many.
    pub fn take_surplus(&mut self, receiver: &str) -> Vec<Waiting> {
        let own = |it: &Waiting| it.message.receiver == receiver;
        let mut surplus = self.waiting.iter().filter(|it| own(it)).count().saturating_sub(MAX_MESSAGES);
        if surplus == 0 {
            return Vec::new();
        }
        let is_surplus = |it: &mut Waiting| {
            let taken = surplus > 0 && own(it);
            surplus -= usize::from(taken);
            taken
        };
        self.waiting.extract_if(.., is_surplus).collect()
    }

    fn push(&mut self, message: Message, attempts: u32, id: Option<i64>, due: Duration) {
        let fingerprint = message.alert.fingerprint();
        self.waiting.push(Waiting { number: self.next, message, fingerprint, attempts, due, id });
        self.next += 1;
    }

    /// Of the messages about an alert for a receiver, such as "began, ended, began, ended", pairs in the middle are dropped: the first
    /// may be in progress, and the last is the current state.
    fn merge(&mut self, keeper: &mut dyn OutboxStore, is_concerned: impl Fn(&Waiting) -> bool) {
        let mut numbers: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
        for it in self.waiting.iter().filter(|it| is_concerned(it)) {
            numbers.entry((&it.message.receiver, &it.fingerprint)).or_default().push(it.number);
        }
        let needless = numbers.values().flat_map(|numbers| {
            let pairs = numbers.len().saturating_sub(2) / 2;
            numbers.iter().skip(1).take(2 * pairs)
        });
        let needless: BTreeSet<u64> = needless.copied().collect();
        for dropped in self.waiting.extract_if(.., |it| needless.contains(&it.number)) {
            *self.merged.entry(dropped.message.receiver).or_default() += 1;
            if let Some(id) = dropped.id {
                keeper.forget(id);
            }
        }
    }

    /// How many messages for a receiver were dropped as needless.
    #[must_use]
    pub fn merged(&self, receiver: &str) -> u64 {
        self.merged.get(receiver).copied().unwrap_or(0)
    }

    /// The next message for a receiver: the first of its alert that is due.
    #[must_use]
    pub fn next_for<'a>(&'a self, receiver: &str, now: Duration) -> Option<&'a Waiting> {
        self.heads(receiver).filter(|it| it.due <= now).min_by_key(|it| it.due)
    }

    #[must_use]
    pub fn due(&self, receiver: &str) -> Option<Duration> {
        self.heads(receiver).map(|it| it.due).min()
    }

    fn heads<'a>(&'a self, receiver: &str) -> impl Iterator<Item = &'a Waiting> {
        let mut seen = BTreeSet::new();
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
    pub fn postpone(&mut self, number: u64, now: Duration, pause: Duration) -> Option<&Waiting> {
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
