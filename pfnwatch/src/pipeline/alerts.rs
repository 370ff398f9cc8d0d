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

use super::Pipeline;
use crate::{
    alerts::{
        AlertsPolicy, Courier, Deliveries, Delivery, Job, Outcome, Recently, Standing, findings,
        kept::{remember, restore},
        post,
    },
    control::protocol::{AlertsAre, StandingAlert, WaitingMessage},
    event::{Body, Event},
    journal::Journal,
    privileges::give_all_up,
    view::View,
};

/// How soon after an event it is looked what stands, so that one look does for a burst.
const SOON: Duration = Duration::from_secs(1);

/// How long there is between two such looks at least.
const APART: Duration = Duration::from_secs(10);

/// What the stack of a request's thread has: TLS needs less.
const STACK_BYTES: usize = 512 << 10;

/// How many waiting messages are shown.
const SHOWN: usize = 256;

/// What stands, and who is told.
pub(super) struct Alerts {
    policy: AlertsPolicy,
    instance: String,
    started: Instant,
    /// How many events of some kinds there were.
    counts: BTreeMap<&'static str, u64>,
    recently: Recently,
    standing: Standing,
    courier: Courier,
    /// Whether what an agent before this one left was read.
    restored: bool,
    last_look: Option<Instant>,
    next_look: Option<Instant>,
    done: (UnboundedSender<Done>, UnboundedReceiver<Done>),
}

type Done = (Delivery, Outcome);

/// What there is to do.
pub(super) enum Due {
    /// It is to be looked what stands.
    Look,
    /// A message is to be sent.
    Send,
    /// A request has ended.
    Done(Delivery, Outcome),
}

impl Alerts {
    pub(super) fn new() -> Self {
        let instance = gethostname().map(|name| name.to_string_lossy().into_owned());
        Self {
            policy: AlertsPolicy::default(),
            instance: instance.unwrap_or_else(|_| "localhost".to_owned()),
            started: Instant::now(),
            counts: BTreeMap::new(),
            recently: Recently::default(),
            standing: Standing::default(),
            courier: Courier::default(),
            restored: false,
            last_look: None,
            next_look: None,
            done: unbounded_channel(),
        }
    }

    /// Waits until there is something to do. It can be cancelled at any time.
    pub(super) async fn next(&mut self) -> Due {
        let (look, send) = (self.next_look, self.courier.due());
        tokio::select! {
            Some((delivery, outcome)) = self.done.1.recv() => Due::Done(delivery, outcome),
            () = until(look) => Due::Look,
            () = until(send.map(Instant::from_std)) => Due::Send,
        }
    }

    /// Something happened: what stands may be something else by now.
    pub(super) fn stir(&mut self, event: &Event) {
        let kind = match &event.body {
            Body::Denied(_) => "denied",
            Body::Lost(_) => "lost",
            Body::Undecoded(_) => "undecoded",
            _ => "",
        };
        *self.counts.entry(kind).or_default() += 1;
        self.look_soon();
    }

    fn look_soon(&mut self) {
        if self.next_look.is_none() && !self.policy.receivers.is_empty() {
            let soon = Instant::now() + SOON;
            self.next_look = Some(self.last_look.map_or(soon, |last| soon.max(last + APART)));
        }
    }

    /// What became of the messages, for each receiver.
    pub(super) fn deliveries(&self) -> Vec<Deliveries> {
        self.courier.deliveries()
    }

    /// Serves the receivers of a configuration. What an agent before this one left is read first.
    fn configure(&mut self, policy: AlertsPolicy, journal: &mut Journal) {
        self.recall(journal);
        self.courier.serve(policy.receivers.clone(), Instant::now().into_std(), journal);
        self.policy = policy;
        self.look_soon();
    }

    fn recall(&mut self, journal: &mut Journal) {
        let now = Instant::now().into_std();
        self.restored = self.restored || restore(journal, &mut self.standing, &mut self.courier, now);
    }

    /// Looks what stands, and puts what is news into the outbox.
    fn look(&mut self, view: &View, journal: &mut Journal) {
        self.recall(journal);
        self.recently.note(&self.counts, self.started.elapsed());
        self.recently.observing(view.status.agent.observing, self.started.elapsed());
        let found = findings(view, &self.recently, &self.instance, &self.policy.runbook);
        for change in self.standing.follow(&found, &self.courier.names(), view.now) {
            // Told first: what is told twice is better than what is not told.
            self.courier.tell(&change, Instant::now().into_std(), journal);
            remember(journal, &change);
        }
        self.courier.outbox_mut().keep(journal);
        (self.last_look, self.next_look) = (Some(Instant::now()), None);
    }

    /// Sends what is due.
    fn send(&mut self) {
        let jobs = self.courier.jobs(Instant::now().into_std(), SystemTime::now());
        jobs.into_iter().for_each(|job| self.run(job));
    }

    /// Says again what stands, to those who forget.
    fn again(&mut self) {
        let jobs = self.courier.again(&self.standing, Instant::now().into_std(), SystemTime::now());
        jobs.into_iter().for_each(|job| self.run(job));
    }

    /// In a thread of its own, which ends with the request: nothing that a receiver does holds the agent up.
    fn run(&self, job: Job) {
        let (sender, delivery) = (self.done.0.clone(), job.delivery.clone());
        let work = move || {
            give_all_up();
            drop(sender.send((job.delivery, post(&job.receiver, &job.post))));
        };
        if let Err(error) = thread::Builder::new().name("alerts".to_owned()).stack_size(STACK_BYTES).spawn(work) {
            let failed = Outcome::failed(format!("no thread can be started: {error}"));
            drop(self.done.0.send((delivery, failed)));
        }
    }

    fn are(&self) -> AlertsAre {
        let standing = self.standing.iter().map(|(fingerprint, stood)| StandingAlert::new(fingerprint, stood));
        let waiting = self.courier.outbox().iter().take(SHOWN).map(WaitingMessage::from);
        AlertsAre { standing: standing.collect(), receivers: self.deliveries(), waiting: waiting.collect() }
    }
}

impl<W: Write> Pipeline<W> {
    /// Takes up who is to be told.
    pub(super) fn configure_alerts(&mut self, policy: AlertsPolicy) {
        self.alerts.configure(policy, &mut self.journal);
    }

    /// At each check: looks, and says again what stands.
    pub(super) fn check_alerts(&mut self) {
        if !self.alerts.policy.receivers.is_empty() {
            self.look_for_alerts();
            self.alerts.send();
            self.alerts.again();
        }
    }

    /// Does what [`Alerts::next`] says.
    pub(super) fn heed_alerts(&mut self, due: Due) {
        match due {
            Due::Look => self.look_for_alerts(),
            Due::Send => {}
            Due::Done(delivery, outcome) => {
                let at = (Instant::now().into_std(), SystemTime::now());
                // Of no weight: hosts shall only not come all at once.
                let chance = RandomState::new().build_hasher().finish();
                self.alerts.courier.done(&delivery, &outcome, at, chance, &mut self.journal);
                crate::memory::give_back();
            }
        }
        self.alerts.send();
    }

    fn look_for_alerts(&mut self) {
        let view = self.view();
        self.alerts.look(&view, &mut self.journal);
    }

    /// How the alerts stand now, for `pfnwatch alerts`.
    pub(super) fn alerts_are(&mut self) -> AlertsAre {
        self.look_for_alerts();
        self.alerts.are()
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
