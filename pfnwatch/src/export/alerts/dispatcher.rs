//! Schedules messages to receivers. Pure except for the [`OutboxStore`]: the loop runs the [`DeliveryJob`]s, one at a
//! time for each receiver, and reports their outcomes.

use std::time::{Duration, SystemTime};

use super::outbox::OutboxStore;
use super::{AlertChange, DeliveryResult, FiringAlerts, Message, Outbox, Payload, Waiting, render};
use crate::model::alert::{DeliveryStats, Receiver, ReceiverKind};

const RESEND_INTERVAL: Duration = Duration::from_secs(120);

/// With the next tick.
const RESEND_RETRY_INTERVAL: Duration = Duration::from_secs(25);

#[derive(Debug)]
pub struct DeliveryJob {
    pub receiver: Receiver,
    pub payload: Payload,
    pub delivery: Delivery,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    receiver: String,
    /// The number of a message in the outbox; `None` if firing alerts are sent again.
    number: Option<u64>,
}

#[derive(Debug)]
struct ReceiverState {
    receiver: Receiver,
    stats: DeliveryStats,
    busy: bool,
    resend_at: Duration,
}

/// Its `now` is the time since boot.
#[derive(Debug, Default)]
pub struct Dispatcher {
    receivers: Vec<ReceiverState>,
    outbox: Outbox,
}

impl Dispatcher {
    /// Serves these receivers from now on. Messages for others are dropped, and logged.
    pub fn set_receivers(&mut self, receivers: Vec<Receiver>, now: Duration, keeper: &mut dyn OutboxStore) {
        let mut before = std::mem::take(&mut self.receivers);
        for receiver in receivers {
            let at = before.iter().position(|line| line.receiver.name == receiver.name);
            let tally = DeliveryStats { receiver: receiver.name.clone(), ..DeliveryStats::default() };
            let fresh = ReceiverState { receiver: receiver.clone(), stats: tally, busy: false, resend_at: now };
            let line = at.map_or(fresh, |at| ReceiverState { receiver, ..before.remove(at) });
            self.receivers.push(line);
        }
        for waiting in self.outbox.drain_unknown_receivers(&self.names()) {
            self.drop_message(&waiting, "the receiver is not in the configuration any more", keeper);
        }
        self.names().iter().for_each(|receiver| self.drop_surplus(receiver, keeper));
    }

    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.receivers.iter().map(|line| line.receiver.name.clone()).collect()
    }

    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub const fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    #[must_use]
    pub fn deliveries(&self) -> Vec<DeliveryStats> {
        let stats = |line: &ReceiverState| {
            let receiver = &line.receiver.name;
            let (pending, merged) = (self.outbox.count(receiver), self.outbox.merged(receiver));
            DeliveryStats { pending, merged, ..line.stats.clone() }
        };
        self.receivers.iter().map(stats).collect()
    }

    pub fn enqueue(&mut self, change: &AlertChange, now: Duration, keeper: &mut dyn OutboxStore) {
        for receiver in &change.receivers {
            let (alert, since) = (change.firing.alert.clone(), change.firing.since);
            let message = Message { receiver: receiver.clone(), alert, since, ended: change.ended };
            self.outbox.put(message, now, keeper);
            self.drop_surplus(receiver, keeper);
        }
    }

    fn drop_surplus(&mut self, receiver: &str, keeper: &mut dyn OutboxStore) {
        for waiting in self.outbox.take_surplus(receiver) {
            self.drop_message(&waiting, "the queue is full", keeper);
        }
    }

    /// When there is something to do; `None` if nothing waits, or if all receivers have a request in progress.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        let idle = self.receivers.iter().filter(|line| !line.busy);
        idle.filter_map(|line| self.outbox.due(&line.receiver.name)).min()
    }

    pub fn jobs(&mut self, now: Duration, wall: SystemTime) -> Vec<DeliveryJob> {
        let mut jobs = Vec::new();
        for line in self.receivers.iter_mut().filter(|line| !line.busy) {
            let Some(waiting) = self.outbox.next_for(&line.receiver.name, now) else { continue };
            let post = render(line.receiver.kind, std::slice::from_ref(&waiting.message), wall);
            jobs.push(line.job(post, Some(waiting.number)));
        }
        jobs
    }

    /// The firing alerts, to be sent to Alertmanager again. Alerts with a waiting message are left out: they may have
    /// ended.
    pub fn resend_firing(&mut self, standing: &FiringAlerts, now: Duration, wall: SystemTime) -> Vec<DeliveryJob> {
        let mut jobs = Vec::new();
        let due = |line: &&mut ReceiverState| {
            line.receiver.kind == ReceiverKind::Alertmanager && !line.busy && line.resend_at <= now
        };
        for line in self.receivers.iter_mut().filter(due) {
            let name = &line.receiver.name;
            let known = standing.iter().filter(|(fingerprint, _)| !self.outbox.contains(name, fingerprint));
            let message = |stood: &super::FiringAlert| {
                let (alert, since) = (stood.alert.clone(), stood.since);
                Message { receiver: name.clone(), alert, since, ended: None }
            };
            let messages: Vec<_> = known.map(|(_, stood)| message(stood)).collect();
            if !messages.is_empty() {
                let post = render(line.receiver.kind, &messages, wall);
                jobs.push(line.job(post, None));
            }
        }
        jobs
    }

    /// Records the outcome of a job. `chance` is any number: the retry delay is spread by it.
    pub fn on_outcome(
        &mut self,
        done: &Delivery,
        outcome: &DeliveryResult,
        at: (Duration, SystemTime),
        chance: u64,
        keeper: &mut dyn OutboxStore,
    ) {
        let Some(line) = self.receivers.iter_mut().find(|line| line.receiver.name == done.receiver) else { return };
        let (now, wall) = at;
        line.record_outcome(outcome);
        let Some(number) = done.number else {
            line.resend_at = now + if outcome.is_delivered() { RESEND_INTERVAL } else { RESEND_RETRY_INTERVAL };
            return;
        };
        match outcome {
            DeliveryResult::Delivered => {
                // The receiver has just got this alert: the others are sent again when they are due.
                line.stats.delivered += 1;
                if let Some(id) = self.outbox.take(number).and_then(|waiting| waiting.id) {
                    keeper.forget(id);
                }
            }
            DeliveryResult::Rejected(why) => {
                if let Some(waiting) = self.outbox.take(number) {
                    self.drop_message(&waiting, why, keeper);
                }
            }
            DeliveryResult::Failed { why, wait } => {
                let attempts = self.outbox.iter().find(|it| it.number == number).map_or(0, |it| it.attempts);
                let delay =
                    retry_delay(attempts.saturating_add(1), chance).max(wait.unwrap_or_default()).min(MAX_RETRY_DELAY);
                let next = wall.checked_add(delay).unwrap_or(wall);
                if let Some(id) = self.outbox.postpone(number, now, delay).and_then(|waiting| waiting.id) {
                    keeper.postpone(id, next, why);
                }
            }
        }
    }

    /// Logged as an error: somebody counts on the message.
    fn drop_message(&mut self, waiting: &Waiting, why: &str, keeper: &mut dyn OutboxStore) {
        let Message { receiver, alert, .. } = &waiting.message;
        let state = waiting.message.state();
        tracing::error!(
            "the receiver {receiver} did NOT get the message that {} is {state} ({}): {why}",
            alert.name,
            waiting.fingerprint
        );
        if let Some(id) = waiting.id {
            keeper.give_up(id, why);
        }
        if let Some(line) = self.receivers.iter_mut().find(|line| line.receiver.name == *receiver) {
            line.stats.given_up += 1;
        }
    }
}

impl ReceiverState {
    fn job(&mut self, post: Payload, number: Option<u64>) -> DeliveryJob {
        self.busy = true;
        let delivery = Delivery { receiver: self.receiver.name.clone(), number };
        DeliveryJob { receiver: self.receiver.clone(), payload: post, delivery }
    }

    fn record_outcome(&mut self, outcome: &DeliveryResult) {
        self.busy = false;
        let error = outcome.error().map(str::to_owned);
        if let (Some(why), None) = (&error, &self.stats.error) {
            tracing::warn!("the receiver {} does not accept alerts: {why}; they are queued", self.receiver.name);
        }
        self.stats.failed += u64::from(error.is_some());
        self.stats.error = error;
    }
}

const MIN_RETRY_DELAY: Duration = Duration::from_secs(5);

/// A receiver that works again gets the next message within this time.
pub(super) const MAX_RETRY_DELAY: Duration = Duration::from_secs(300);

/// The pause after so many failed attempts: 5 s, doubled with each, up to 5 min; `chance` (any number) picks from the
/// upper half, so that a fleet does not retry at once.
#[must_use]
pub fn retry_delay(attempts: u32, chance: u64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let whole = MIN_RETRY_DELAY.saturating_mul(1 << doublings).min(MAX_RETRY_DELAY);
    let half = whole / 2;
    let millis = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
    half + Duration::from_millis(chance % (millis + 1))
}

#[cfg(test)]
mod tests;
