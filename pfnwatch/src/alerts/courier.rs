//! Who is sent what, and when. Pure but for what the [`Keeper`] does: the loop runs the [`Job`]s, one at a time for each
//! receiver, and says what came of them.

use std::time::{Duration, Instant, SystemTime};

use super::{
    Change, Deliveries, Kind, Message, Outbox, Outcome, Post, Receiver, Standing, Waiting,
    backoff::{self, pause},
    outbox::Keeper,
    rendered,
};

/// How often Alertmanager is told again of what stands.
const AGAIN: Duration = Duration::from_secs(120);

/// How soon that is tried again where it failed: with the next look.
const AGAIN_SOON: Duration = Duration::from_secs(25);

/// One request to be made.
#[derive(Debug)]
pub struct Job {
    /// To whom.
    pub receiver: Receiver,
    /// What.
    pub post: Post,
    /// What to give back with the outcome.
    pub delivery: Delivery,
}

/// What a job delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    receiver: String,
    /// The number of a message in the outbox; none where what stands is said again.
    number: Option<u64>,
}

/// A receiver, and how it stands with it.
#[derive(Debug)]
struct Line {
    receiver: Receiver,
    tally: Deliveries,
    busy: bool,
    again: Instant,
}

/// The receivers, and what waits for them.
#[derive(Debug, Default)]
pub struct Courier {
    lines: Vec<Line>,
    outbox: Outbox,
}

impl Courier {
    /// Serves these receivers from now on. What waits for others is given up, and said.
    pub fn serve(&mut self, receivers: Vec<Receiver>, now: Instant, keeper: &mut dyn Keeper) {
        let mut before = std::mem::take(&mut self.lines);
        for receiver in receivers {
            let at = before.iter().position(|line| line.receiver.name == receiver.name);
            let tally = Deliveries { receiver: receiver.name.clone(), ..Deliveries::default() };
            let fresh = Line { receiver: receiver.clone(), tally, busy: false, again: now };
            let line = at.map_or(fresh, |at| Line { receiver, ..before.remove(at) });
            self.lines.push(line);
        }
        for waiting in self.outbox.take_strangers(&self.names()) {
            self.give_up(&waiting, "the receiver is not in the configuration any more", keeper);
        }
    }

    /// The receivers' names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.receiver.name.clone()).collect()
    }

    /// What waits.
    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The same, for what was kept.
    pub const fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// What became of the messages.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Deliveries> {
        let pending = |line: &Line| self.outbox.count(&line.receiver.name);
        self.lines.iter().map(|line| Deliveries { pending: pending(line), ..line.tally.clone() }).collect()
    }

    /// Takes what is news for the receivers.
    pub fn tell(&mut self, change: &Change, now: Instant, keeper: &mut dyn Keeper) {
        for receiver in change.receivers.iter().cloned() {
            let (alert, since) = (change.stood.alert.clone(), change.stood.since);
            let message = Message { receiver, alert, since, ended: change.ended };
            for waiting in self.outbox.put(message, now, keeper) {
                self.give_up(&waiting, "there is no room for so many messages", keeper);
            }
        }
    }

    /// When there is something to do; none where nothing waits, or all that could be done is being done.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let idle = self.lines.iter().filter(|line| !line.busy);
        idle.filter_map(|line| self.outbox.due(&line.receiver.name)).min()
    }

    /// What is to be sent now.
    pub fn jobs(&mut self, now: Instant, wall: SystemTime) -> Vec<Job> {
        let mut jobs = Vec::new();
        for line in self.lines.iter_mut().filter(|line| !line.busy) {
            let Some(waiting) = self.outbox.next_for(&line.receiver.name, now) else { continue };
            let post = rendered(line.receiver.kind, std::slice::from_ref(&waiting.message), wall);
            jobs.push(line.job(post, Some(waiting.number)));
        }
        jobs
    }

    /// What Alertmanager is to be told again. What waits is left out, so that nothing is told that has ended.
    pub fn again(&mut self, standing: &Standing, now: Instant, wall: SystemTime) -> Vec<Job> {
        let mut jobs = Vec::new();
        let due = |line: &&mut Line| line.receiver.kind == Kind::Alertmanager && !line.busy && line.again <= now;
        for line in self.lines.iter_mut().filter(due) {
            let name = &line.receiver.name;
            let known = standing.iter().filter(|(fingerprint, _)| !self.outbox.holds(name, fingerprint));
            let message = |stood: &super::Stood| {
                let (alert, since) = (stood.alert.clone(), stood.since);
                Message { receiver: name.clone(), alert, since, ended: None }
            };
            let messages: Vec<_> = known.map(|(_, stood)| message(stood)).collect();
            if !messages.is_empty() {
                let post = rendered(line.receiver.kind, &messages, wall);
                jobs.push(line.job(post, None));
            }
        }
        jobs
    }

    /// Takes note of what came of a job. `chance` is any number: see [`pause`].
    pub fn done(
        &mut self,
        done: &Delivery,
        outcome: &Outcome,
        at: (Instant, SystemTime),
        chance: u64,
        keeper: &mut dyn Keeper,
    ) {
        let Some(line) = self.lines.iter_mut().find(|line| line.receiver.name == done.receiver) else { return };
        let (now, wall) = at;
        line.note(outcome);
        let Some(number) = done.number else {
            line.again = now + if outcome.is_taken() { AGAIN } else { AGAIN_SOON };
            return;
        };
        match outcome {
            Outcome::Taken => {
                // It has just heard of this one: the rest is said again in its time.
                line.tally.delivered += 1;
                if let Some(id) = self.outbox.take(number).and_then(|waiting| waiting.id) {
                    keeper.forget(id);
                }
            }
            Outcome::Refused(why) => {
                if let Some(waiting) = self.outbox.take(number) {
                    self.give_up(&waiting, why, keeper);
                }
            }
            Outcome::Failed { why, wait } => {
                let attempts = self.outbox.iter().find(|it| it.number == number).map_or(0, |it| it.attempts);
                let pause =
                    pause(attempts.saturating_add(1), chance).max(wait.unwrap_or_default()).min(backoff::LONGEST);
                let next = wall.checked_add(pause).unwrap_or(wall);
                if let Some(id) = self.outbox.postpone(number, now, pause).and_then(|waiting| waiting.id) {
                    keeper.postpone(id, next, why);
                }
            }
        }
    }

    /// Loudly: somebody counts on the message.
    fn give_up(&mut self, waiting: &Waiting, why: &str, keeper: &mut dyn Keeper) {
        let Message { receiver, alert, .. } = &waiting.message;
        let state = waiting.message.state();
        tracing::error!(
            "the receiver {receiver} was NOT told that {} is {state} ({}): {why}",
            alert.name,
            waiting.fingerprint
        );
        if let Some(id) = waiting.id {
            keeper.give_up(id, why);
        }
        if let Some(line) = self.lines.iter_mut().find(|line| line.receiver.name == *receiver) {
            line.tally.given_up += 1;
        }
    }
}

impl Line {
    fn job(&mut self, post: Post, number: Option<u64>) -> Job {
        self.busy = true;
        let delivery = Delivery { receiver: self.receiver.name.clone(), number };
        Job { receiver: self.receiver.clone(), post, delivery }
    }

    fn note(&mut self, outcome: &Outcome) {
        self.busy = false;
        let error = outcome.error().map(str::to_owned);
        if let (Some(why), None) = (&error, &self.tally.error) {
            tracing::warn!("the receiver {} does not take alerts: {why}; they wait", self.receiver.name);
        }
        self.tally.failed += u64::from(error.is_some());
        self.tally.error = error;
    }
}

#[cfg(test)]
mod tests;
