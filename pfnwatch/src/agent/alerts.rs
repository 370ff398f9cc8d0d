//! Alerts in the agent's loop: looked for, kept, sent.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    hash::{BuildHasher as _, Hasher as _},
    io::Write,
    thread,
    time::{Duration, SystemTime},
};

use nix::unistd::gethostname;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep_until},
};

use super::Agent;
use crate::{
    agent::alert_store::{remember, restore},
    export::alerts::{Delivery, DeliveryJob, DeliveryResult, Dispatcher, FiringAlerts, RecentEvents, findings, post},
    model::{
        alert::{deliveries::DeliveryStats, receiver::AlertsPolicy},
        control::{AlertsStatus, FiringAlertStatus, PendingMessage},
        event::{Body, Event},
        view::View,
    },
    os::privileges::drop_all,
    store::EventStore,
};

/// How soon after an event it is looked what stands, so that one look does for a burst.
const EVALUATION_DELAY: Duration = Duration::from_secs(1);

/// How long there is between two such looks at least.
const MIN_EVALUATION_INTERVAL: Duration = Duration::from_secs(10);

/// What the stack of a request's thread has: TLS needs less.
const STACK_BYTES: usize = 512 << 10;

/// How many waiting messages are shown.
const MAX_SHOWN_MESSAGES: usize = 256;

/// What stands, and who is told.
pub(super) struct Alerts {
    policy: AlertsPolicy,
    instance: String,
    started: Instant,
    /// How many events of some kinds there were.
    counts: BTreeMap<&'static str, u64>,
    recent: RecentEvents,
    firing: FiringAlerts,
    dispatcher: Dispatcher,
    /// Whether what an agent before this one left was read.
    restored: bool,
    last_evaluation: Option<Instant>,
    next_evaluation: Option<Instant>,
    outcomes: (UnboundedSender<DeliveryOutcome>, UnboundedReceiver<DeliveryOutcome>),
}

type DeliveryOutcome = (Delivery, DeliveryResult);

/// What there is to do.
pub(super) enum AlertWork {
    /// It is to be looked what stands.
    Evaluate,
    /// A message is to be sent.
    Send,
    /// A request has ended.
    Outcome(Delivery, DeliveryResult),
}

impl Alerts {
    pub(super) fn new() -> Self {
        let instance = gethostname().map(|name| name.to_string_lossy().into_owned());
        Self {
            policy: AlertsPolicy::default(),
            instance: instance.unwrap_or_else(|_| "localhost".to_owned()),
            started: Instant::now(),
            counts: BTreeMap::new(),
            recent: RecentEvents::default(),
            firing: FiringAlerts::default(),
            dispatcher: Dispatcher::default(),
            restored: false,
            last_evaluation: None,
            next_evaluation: None,
            outcomes: unbounded_channel(),
        }
    }

    /// Waits until there is something to do. It can be cancelled at any time.
    pub(super) async fn next(&mut self) -> AlertWork {
        let (look, send) = (self.next_evaluation, self.dispatcher.due());
        tokio::select! {
            Some((delivery, outcome)) = self.outcomes.1.recv() => AlertWork::Outcome(delivery, outcome),
            () = sleep_until_due(look) => AlertWork::Evaluate,
            () = sleep_until_due(send.map(Instant::from_std)) => AlertWork::Send,
        }
    }

    /// Something happened: what stands may be something else by now.
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
            let soon = Instant::now() + EVALUATION_DELAY;
            self.next_evaluation =
                Some(self.last_evaluation.map_or(soon, |last| soon.max(last + MIN_EVALUATION_INTERVAL)));
        }
    }

    /// What became of the messages, for each receiver.
    pub(super) fn deliveries(&self) -> Vec<DeliveryStats> {
        self.dispatcher.deliveries()
    }

    /// Serves the receivers of a configuration. What an agent before this one left is read first.
    fn configure(&mut self, policy: AlertsPolicy, journal: &mut EventStore) {
        self.restore_once(journal);
        self.dispatcher.set_receivers(policy.receivers.clone(), Instant::now().into_std(), journal);
        self.policy = policy;
        self.schedule_evaluation();
    }

    fn restore_once(&mut self, journal: &mut EventStore) {
        let now = Instant::now().into_std();
        self.restored = self.restored || restore(journal, &mut self.firing, &mut self.dispatcher, now);
    }

    /// Looks what stands, and puts what is news into the outbox.
    fn evaluate(&mut self, view: &View, journal: &mut EventStore) {
        self.restore_once(journal);
        self.recent.note(&self.counts, self.started.elapsed());
        self.recent.observing(view.status.agent.observing, self.started.elapsed());
        let found = findings(view, &self.recent, &self.instance, &self.policy.runbook);
        for change in self.firing.follow(&found, &self.dispatcher.names(), view.now) {
            // Told first: what is told twice is better than what is not told.
            self.dispatcher.enqueue(&change, Instant::now().into_std(), journal);
            remember(journal, &change);
        }
        self.dispatcher.outbox_mut().save(journal);
        (self.last_evaluation, self.next_evaluation) = (Some(Instant::now()), None);
    }

    /// Sends what is due.
    fn send(&mut self) {
        let jobs = self.dispatcher.jobs(Instant::now().into_std(), SystemTime::now());
        jobs.into_iter().for_each(|job| self.spawn_delivery(job));
    }

    /// Says again what stands, to those who forget.
    fn resend_firing(&mut self) {
        let jobs = self.dispatcher.resend_firing(&self.firing, Instant::now().into_std(), SystemTime::now());
        jobs.into_iter().for_each(|job| self.spawn_delivery(job));
    }

    /// In a thread of its own, which ends with the request: nothing that a receiver does holds the agent up.
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

    fn status(&self) -> AlertsStatus {
        let firing = self.firing.iter().map(|(fingerprint, alert)| FiringAlertStatus::new(fingerprint, alert));
        let waiting = self.dispatcher.outbox().iter().take(MAX_SHOWN_MESSAGES).map(PendingMessage::from);
        AlertsStatus { firing: firing.collect(), receivers: self.deliveries(), waiting: waiting.collect() }
    }
}

impl<W: Write> Agent<W> {
    /// Takes up who is to be told.
    pub(super) fn configure_alerts(&mut self, policy: AlertsPolicy) {
        self.alerts.configure(policy, &mut self.store);
    }

    /// At each check: looks, and says again what stands.
    pub(super) fn check_alerts(&mut self) {
        if !self.alerts.policy.receivers.is_empty() {
            self.evaluate_alerts();
            self.alerts.send();
            self.alerts.resend_firing();
        }
    }

    /// Does what [`Alerts::next`] says.
    pub(super) fn handle_alert_work(&mut self, due: AlertWork) {
        match due {
            AlertWork::Evaluate => self.evaluate_alerts(),
            AlertWork::Send => {}
            AlertWork::Outcome(delivery, outcome) => {
                let at = (Instant::now().into_std(), SystemTime::now());
                // Of no weight: hosts shall only not come all at once.
                let chance = RandomState::new().build_hasher().finish();
                self.alerts.dispatcher.on_outcome(&delivery, &outcome, at, chance, &mut self.store);
                crate::os::memory_trim::trim_heap();
            }
        }
        self.alerts.send();
    }

    fn evaluate_alerts(&mut self) {
        let view = self.view();
        self.alerts.evaluate(&view, &mut self.store);
    }

    /// How the alerts stand now, for `pfnwatch alerts`.
    pub(super) fn alerts_status(&mut self) -> AlertsStatus {
        self.evaluate_alerts();
        self.alerts.status()
    }
}

async fn sleep_until_due(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
