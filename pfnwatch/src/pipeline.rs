//! The agent's loop: records become events, events go to the sinks; libnvdimm comes and goes meanwhile.

mod alerts;
mod attachment;
mod baseline;
mod found;
mod guarding;
mod publish;
mod records;
mod requests;
mod standing;
mod status;
mod view;

use std::{
    collections::BTreeSet,
    io::{self, Write},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    aftermath::Aftermath,
    baseline::BaselineWatch,
    cgroup::Cgroups,
    control::server::{Call, Server},
    event::{Body, Event, Stopped},
    exit::Because,
    guard::Guard,
    journal::Journal,
    kept::Kept,
    kernel::{KernelFacts, btf::Btf},
    kernel_watch::KernelWatch,
    labels::Labels,
    memory,
    module_watch::ModuleWatch,
    observation::{Observation, Options},
    policy::Policy,
    privileges, service,
    shutdown::Shutdown,
    sinks::log::Log,
    ticks::Ticks,
    web::Web,
};

/// How often the counters and the presence of libnvdimm are looked at without any occasion, and the watchdog is fed; more often
/// where that bites sooner.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// The agent.
pub struct Pipeline<W> {
    options: Options,
    facts: KernelFacts,
    types: Option<Btf>,
    cgroups: Option<Cgroups>,
    log: Log<W>,
    observation: Option<Observation>,
    labels: Labels,
    kernel: KernelWatch,
    guard: Guard,
    aftermath: Aftermath,
    kept: Kept,
    seen: view::Seen,
    web: Web,
    journal: Journal,
    baseline: BaselineWatch,
    alerts: alerts::Alerts,
    /// Events that nobody was told of yet.
    queue: Vec<Event>,
    /// Blocks that were told of: the namespace's start and the block's uuid.
    met: BTreeSet<(u64, Uuid)>,
    said: Said,
    told: Told,
    accounted: Instant,
    ended: Stopped,
}

/// Who set what is in force, and when: for `status`.
struct Said {
    started: SystemTime,
    mode_since: SystemTime,
    mode_by: String,
    mode_reason: Option<String>,
    policy_since: SystemTime,
    reload_error: Option<String>,
}

impl Said {
    fn now() -> Self {
        let now = SystemTime::now();
        Self {
            started: now,
            mode_since: now,
            mode_by: "the configuration".to_owned(),
            mode_reason: None,
            policy_since: now,
            reload_error: None,
        }
    }
}

/// What was said last of whether the agent observes: a condition that stands is not said again.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Idle,
    Observing,
    Blind(String),
}

impl<W: Write> Pipeline<W> {
    /// An agent that observes nothing yet.
    ///
    /// # Errors
    /// The clock cannot be read.
    pub fn new(
        options: Options,
        policy: Policy,
        facts: KernelFacts,
        mut journal: Journal,
        log: Log<W>,
    ) -> anyhow::Result<Self> {
        let cgroups = Cgroups::open(&options.paths.sysfs);
        let guard = Guard::new(policy, &facts)?;
        let baseline = BaselineWatch::new(&mut journal, &facts.release, facts.page_size);
        let web = Web::new(options.web.clone());
        Ok(Self {
            options,
            facts,
            types: None,
            cgroups,
            log,
            observation: None,
            labels: Labels::default(),
            kernel: KernelWatch::default(),
            guard,
            aftermath: Aftermath::default(),
            kept: Kept::default(),
            seen: view::Seen::default(),
            web,
            journal,
            baseline,
            queue: Vec::new(),
            alerts: alerts::Alerts::new(),
            met: BTreeSet::new(),
            said: Said::now(),
            told: Told::Nothing,
            accounted: Instant::now(),
            ended: Stopped::default(),
        })
    }

    /// Observes until it is asked to end.
    ///
    /// # Errors
    /// This host cannot be observed, or standard output is gone.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let ended = self.observe().await;
        // Whatever ended it: what was seen is told.
        let published = self.publish();
        ended.and(published)
    }

    async fn observe(&mut self) -> anyhow::Result<()> {
        // Before all else: a second agent must not touch what the first one does.
        let mut control = Server::listen(&self.options.control_socket).map_err(without_root)?;
        let mut hangup = signal(SignalKind::hangup()).context("signals cannot be listened to")?;
        let mut shutdown = Shutdown::listen().context("signals cannot be listened to")?;
        // Before the first look at the modules, so that no change between the two is missed.
        let mut modules = ModuleWatch::open().context("the kernel's messages about modules cannot be listened to")?;
        let check_every = service::feeding_time().map_or(CHECK_EVERY, |time| time.min(CHECK_EVERY));
        let mut check = Ticks::every(check_every).context("no timer can be had")?;
        let mut prove = Ticks::every(self.options.prove_every).context("no timer can be had")?;
        let mut batch = Vec::new();
        self.begin()?;
        service::ready(&self.standing());
        loop {
            self.publish()?;
            tokio::select! {
                biased;
                signal = shutdown.asked() => {
                    tracing::info!("{signal}: the rest is read, then pfnwatch ends");
                    service::stopping();
                    break;
                }
                Call { request, peer, responder } = control.next() => {
                    let reply = self.answer(request, &peer);
                    self.publish()?;
                    responder.answer(reply);
                }
                _ = hangup.recv() => {
                    service::reloading();
                    self.reload()?;
                    self.look()?;
                    self.check_journal()?;
                    service::ready(&self.standing());
                }
                change = modules.next() => self.module(change.context("the kernel's messages about modules")?)?,
                tick = check.next() => {
                    tick?;
                    self.check()?;
                }
                tick = prove.next() => tick.map_err(Into::into).and_then(|()| self.prove())?,
                call = self.web.next() => self.show(call)?,
                due = self.alerts.next() => self.heed_alerts(due),
                () = self.journal.at_rest() => self.journal.settle(),
                // The last: a flood of them must not hold off what people ask.
                records = records(self.observation.as_mut(), &mut batch) => {
                    records.context("the ring buffer cannot be waited on")?;
                    self.deliver(&mut batch)?;
                    // What was seen goes before what is counted.
                    self.publish()?;
                    self.account_soon()?;
                    // Where there are always more, nothing else would ever be looked at.
                    tokio::task::yield_now().await;
                }
            }
        }
        self.still_runs(true);
        self.detach()?;
        let ended = self.ended;
        self.emit(Event::now(Body::Stopped(ended)))
    }

    /// What comes again and again, whatever happens.
    fn check(&mut self) -> anyhow::Result<()> {
        self.account()?;
        self.look()?;
        self.check_journal()?;
        self.still_runs(false);
        self.end_exemptions()?;
        self.web.tend();
        self.check_alerts();
        service::turns(&self.standing());
        Ok(())
    }

    /// What comes once, before the loop.
    fn begin(&mut self) -> anyhow::Result<()> {
        self.take_up_blocks();
        self.say_policy()?;
        self.look()?;
        self.check_journal()?;
        self.configure_alerts(self.options.alerts.clone());
        self.web.listen();
        // Types, symbols, the inventory: nothing of what the first look took is needed again.
        memory::without_huge_pages();
        memory::give_back();
        memory::let_go_of_program();
        if let Err(error) = privileges::lay_down() {
            tracing::warn!("the agent keeps more privileges than it needs: {error:#}");
        }
        Ok(())
    }

    /// Has the event told with the next [`Self::publish`].
    fn emit(&mut self, mut event: Event) -> anyhow::Result<()> {
        // One who asked over the control socket comes with a path, and without a number.
        if let (Some(actor), Some(cgroups)) = (event.actor_mut().filter(|it| it.cgroup_id != 0), &mut self.cgroups) {
            actor.cgroup = cgroups.path(actor.cgroup_id);
        }
        self.seen.note(&event);
        self.alerts.stir(&event);
        self.queue.push(event);
        self.publish_if_many()
    }
}

/// Whoever may not open the socket may not load programs either.
fn without_root(error: anyhow::Error) -> anyhow::Error {
    let denied = |cause: &io::Error| cause.kind() == io::ErrorKind::PermissionDenied;
    if error.root_cause().downcast_ref().is_some_and(denied) {
        return error.context(Because::unsupported("this host cannot be observed without root"));
    }
    error
}

/// Waits for records; for ever while nothing is observed.
async fn records(observation: Option<&mut Observation>, batch: &mut Vec<Bytes>) -> io::Result<()> {
    match observation {
        Some(observation) => observation.wait(batch).await,
        None => std::future::pending().await,
    }
}
