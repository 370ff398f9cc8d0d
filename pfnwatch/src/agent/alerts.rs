//! Alerts in the agent's loop: evaluated, saved, sent.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::future::poll_fn;
use std::hash::{BuildHasher as _, Hasher as _};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use nix::unistd::gethostname;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::agent::alert_store::{remember, restore};
use crate::export::alerts::{
    Delivery, DeliveryJob, DeliveryResult, Dispatcher, FiringAlerts, RecentEvents, findings, post,
};
use crate::model::alert::{AlertsPolicy, DeliveryStats};
use crate::model::control::{AlertsStatus, FiringAlertStatus, PendingMessage};
use crate::model::event::{Body, Event};
use crate::model::view::View;
use crate::os::clock::{Alarm, Clock};
use crate::os::privileges::drop_all;
use crate::store::EventStore;

/// How soon after an event the alerts are evaluated, so that one evaluation does for a burst.
const EVALUATION_DELAY: Duration = Duration::from_secs(1);

/// The time between two evaluations, at least.
const MIN_EVALUATION_INTERVAL: Duration = Duration::from_secs(10);

/// The stack of a delivery's thread: TLS needs less.
const STACK_BYTES: usize = 512 << 10;

/// How many pending messages are shown.
const MAX_SHOWN_MESSAGES: usize = 256;

/// The firing alerts, and their delivery to receivers.
pub(super) struct Alerts {
    policy: AlertsPolicy,
    instance: String,
    clock: Rc<dyn Clock>,
    /// Like all times here: since boot.
    started: Duration,
    /// How many events of some kinds there were.
    counts: BTreeMap<&'static str, u64>,
    recent: RecentEvents,
    firing: FiringAlerts,
    /// How many alerts the last evaluation left out because there were too many.
    omitted: usize,
    dispatcher: Dispatcher,
    /// Whether the alerts and messages of an earlier agent were read.
    restored: bool,
    last_evaluation: Option<Duration>,
    next_evaluation: Option<Duration>,
    /// For the next evaluation or message.
    alarm: Option<Alarm>,
    outcomes: (UnboundedSender<DeliveryOutcome>, UnboundedReceiver<DeliveryOutcome>),
}

type DeliveryOutcome = (Delivery, DeliveryResult);

/// Work that is due.
pub(super) enum AlertWork {
    /// The alerts are to be evaluated.
    Evaluate,
    /// A message is to be sent.
    Send,
    /// A delivery has ended.
    Outcome(Delivery, DeliveryResult),
}

impl Alerts {
    pub(super) fn new(clock: Rc<dyn Clock>) -> Self {
        let instance = gethostname().map(|name| name.to_string_lossy().into_owned());
        Self {
            policy: AlertsPolicy::default(),
            instance: instance.unwrap_or_else(|_| "localhost".to_owned()),
            started: clock.since_boot(),
            clock,
            counts: BTreeMap::new(),
            recent: RecentEvents::default(),
            firing: FiringAlerts::default(),
            omitted: 0,
            dispatcher: Dispatcher::default(),
            restored: false,
            last_evaluation: None,
            next_evaluation: None,
            alarm: None,
            outcomes: unbounded_channel(),
        }
    }

    /// Waits until there is something to do. It can be cancelled at any time.
    pub(super) async fn next(&mut self) -> AlertWork {
        let due = self.next_evaluation.into_iter().chain(self.dispatcher.due()).min();
        if self.alarm.as_ref().map(Alarm::at) != due {
            self.alarm = due.map(|at| Alarm::new(&*self.clock, at));
        }
        let (alarm, outcomes) = (&mut self.alarm, &mut self.outcomes.1);
        tokio::select! {
            Some((delivery, outcome)) = outcomes.recv() => AlertWork::Outcome(delivery, outcome),
            () = poll_fn(|context| Alarm::poll(alarm, context)) => {
                let is_due = self.next_evaluation.is_some_and(|at| at <= self.clock.since_boot());
                if is_due { AlertWork::Evaluate } else { AlertWork::Send }
            }
        }
    }

    /// Counts an event, and schedules an evaluation: other alerts may fire by now.
    pub(super) fn on_event(&mut self, event: &Event) {
        let kind = match &event.body {
            Body::Denied(_) => "denied",
            Body::Lost(_) => "lost",
            Body::DecodeError(_) => "decode_error",
            _ => "",
        };
        *self.counts.entry(kind).or_default() += 1;
        self.schedule_evaluation();
    }

    fn schedule_evaluation(&mut self) {
        if self.next_evaluation.is_none() && !self.policy.receivers.is_empty() {
            let after_burst = self.clock.since_boot() + EVALUATION_DELAY;
            self.next_evaluation =
                Some(self.last_evaluation.map_or(after_burst, |last| after_burst.max(last + MIN_EVALUATION_INTERVAL)));
        }
    }

    /// The deliveries of each receiver.
    pub(super) fn deliveries(&self) -> Vec<DeliveryStats> {
        self.dispatcher.deliveries()
    }

    /// Whether the configuration has receivers.
    pub(super) const fn has_receivers(&self) -> bool {
        !self.policy.receivers.is_empty()
    }

    /// Serves the receivers of a configuration. The alerts and messages of an earlier agent are read first.
    pub(super) fn configure(&mut self, policy: AlertsPolicy, store: &mut EventStore) {
        self.restore_once(store);
        self.dispatcher.set_receivers(policy.receivers.clone(), self.clock.since_boot(), store);
        self.policy = policy;
        self.schedule_evaluation();
    }

    fn restore_once(&mut self, store: &mut EventStore) {
        let now = self.clock.since_boot();
        self.restored = self.restored || restore(store, &mut self.firing, &mut self.dispatcher, now);
    }

    /// Evaluates the alerts, and puts messages about changes into the outbox.
    pub(super) fn evaluate(&mut self, view: &View, store: &mut EventStore) {
        self.restore_once(store);
        let now = self.clock.since_boot();
        let running = now.saturating_sub(self.started);
        self.recent.note(&self.counts, running);
        self.recent.observing(view.status.agent.observing, running);
        let findings = findings(view, &self.recent, &self.instance, &self.policy.runbook);
        if let Some(warning) = self.omission(findings.omitted) {
            tracing::warn!("{warning}");
        }
        for change in self.firing.follow(&findings, &self.dispatcher.names(), view.now) {
            // The message first: one that is sent twice is better than one that is not sent.
            self.dispatcher.enqueue(&change, now, store);
            remember(store, &change);
        }
        self.dispatcher.outbox_mut().save(store);
        (self.last_evaluation, self.next_evaluation) = (Some(now), None);
    }

    /// The warning about alerts that are left out, if their number changed.
    fn omission(&mut self, omitted: usize) -> Option<String> {
        let before = std::mem::replace(&mut self.omitted, omitted);
        (omitted != before && omitted > 0).then(|| {
            format!("{omitted} alerts are left out, since there are too many: `pfnwatch scan` shows all namespaces")
        })
    }

    /// Sends the messages that are due.
    pub(super) fn send(&mut self) {
        let jobs = self.dispatcher.jobs(self.clock.since_boot(), self.clock.wall());
        jobs.into_iter().for_each(|job| self.spawn_delivery(job));
    }

    /// Sends the firing alerts again, to receivers that forget.
    pub(super) fn resend_firing(&mut self) {
        let jobs = self.dispatcher.resend_firing(&self.firing, self.clock.since_boot(), self.clock.wall());
        jobs.into_iter().for_each(|job| self.spawn_delivery(job));
    }

    /// Records the result of a delivery.
    pub(super) fn on_outcome(&mut self, delivery: &Delivery, result: &DeliveryResult, store: &mut EventStore) {
        let at = (self.clock.since_boot(), self.clock.wall());
        // It needs not be secure: it keeps hosts from retrying all at once.
        let chance = RandomState::new().build_hasher().finish();
        self.dispatcher.on_outcome(delivery, result, at, chance, store);
    }

    /// In a thread of its own, which ends with the request: nothing that a receiver does delays the agent.
    fn spawn_delivery(&self, job: DeliveryJob) {
        let (sender, delivery) = (self.outcomes.0.clone(), job.delivery.clone());
        let work = move || {
            drop_all();
            drop(sender.send((job.delivery, post(&job.receiver, &job.payload))));
        };
        if let Err(error) = thread::Builder::new().name("alerts".to_owned()).stack_size(STACK_BYTES).spawn(work) {
            let failed = DeliveryResult::failed(format!("no thread can be started: {error}"));
            drop(self.outcomes.0.send((delivery, failed)));
        }
    }

    /// For `pfnwatch alerts`.
    pub(super) fn status(&self) -> AlertsStatus {
        let firing = self.firing.iter().map(|(fingerprint, alert)| FiringAlertStatus::new(fingerprint, alert));
        let pending = self.dispatcher.outbox().iter().take(MAX_SHOWN_MESSAGES).map(PendingMessage::from);
        AlertsStatus {
            firing: firing.collect(),
            omitted: self.omitted,
            receivers: self.deliveries(),
            waiting: pending.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock::SystemClock;

    #[test]
    fn alerts_that_are_left_out_are_logged_once_for_each_change() {
        let mut alerts = Alerts::new(Rc::new(SystemClock::new().unwrap()));
        let logged = [0, 44, 44, 44, 45, 0, 0, 44].map(|omitted| alerts.omission(omitted).is_some());
        assert_eq!(logged, [false, true, false, false, true, false, false, true]);
        assert_eq!(alerts.status().omitted, 44);
    }
}
