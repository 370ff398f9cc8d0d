//! The agent's loop: records become events, events go to the sinks; libnvdimm comes and goes meanwhile.

pub mod alert_store;
mod alerts;
mod attachment;
mod baseline;
mod baseline_watch;
mod control;
pub mod control_server;
mod guard;
mod initial_scan;
pub mod kernel_watch;
mod options;
mod publish;
mod records;
mod service_status;
mod status;
mod view;

pub use self::options::Options;
use crate::kernel::quirks;
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
    agent::{
        baseline_watch::BaselineWatch,
        control_server::{PendingRequest, Server},
        kernel_watch::KernelWatch,
    },
    analysis::{label_tracker::LabelTracker, prediction_check::PredictionTracker},
    bpf::sensor::AttachedPrograms,
    export::{log::Log, web::Web},
    guard::{Guard, info_block_cache::InfoBlockCache},
    kernel::btf::Btf,
    model::exit::ExitContext,
    model::{
        event::{Body, Event, RecordTotals},
        kernel::KernelFacts,
        policy::Policy,
    },
    os::{interval::TimerFdInterval, memory_trim, privileges, shutdown::Shutdown, systemd},
    store::EventStore,
    sysfs::{cgroup::Cgroups, module_watch::ModuleWatch},
};

/// How often the counters and the presence of libnvdimm are looked at without any occasion, and the watchdog is fed; more often
/// where that bites sooner.
const TICK_INTERVAL: Duration = Duration::from_secs(30);

/// The agent.
pub struct Agent<W> {
    options: Options,
    facts: KernelFacts,
    types: Option<Btf>,
    cgroups: Option<Cgroups>,
    log: Log<W>,
    sensor: Option<AttachedPrograms>,
    label_tracker: LabelTracker,
    kernel: KernelWatch,
    guard: Guard,
    predictions: PredictionTracker,
    info_blocks: InfoBlockCache,
    recent_events: view::RecentEvents,
    web: Web,
    store: EventStore,
    baseline: BaselineWatch,
    alerts: alerts::Alerts,
    /// Events that nobody was told of yet.
    queue: Vec<Event>,
    /// Blocks that were told of: the namespace's start and the block's uuid.
    known_blocks: BTreeSet<(u64, Uuid)>,
    runtime_info: RuntimeInfo,
    state: AgentState,
    losses_reported_at: Instant,
    record_totals: RecordTotals,
}

/// Who set what is in force, and when: for `status`.
struct RuntimeInfo {
    started: SystemTime,
    mode_since: SystemTime,
    mode_by: String,
    mode_reason: Option<String>,
    policy_since: SystemTime,
    reload_error: Option<String>,
}

impl RuntimeInfo {
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
enum AgentState {
    Starting,
    Idle,
    Observing,
    Blind(String),
}

impl<W: Write> Agent<W> {
    /// An agent that observes nothing yet.
    ///
    /// # Errors
    /// The clock cannot be read.
    pub fn new(
        options: Options,
        policy: Policy,
        facts: KernelFacts,
        mut journal: EventStore,
        log: Log<W>,
    ) -> anyhow::Result<Self> {
        let cgroups = Cgroups::open(&options.paths.sysfs);
        let guard = Guard::new(policy, &facts, quirks::of_release(&facts.release))?;
        let baseline = BaselineWatch::new(&mut journal, &facts.release, facts.page_size);
        let web = Web::new(options.web.clone());
        Ok(Self {
            options,
            facts,
            types: None,
            cgroups,
            log,
            sensor: None,
            label_tracker: LabelTracker::default(),
            kernel: KernelWatch::default(),
            guard,
            predictions: PredictionTracker::default(),
            info_blocks: InfoBlockCache::default(),
            recent_events: view::RecentEvents::default(),
            web,
            store: journal,
            baseline,
            queue: Vec::new(),
            alerts: alerts::Alerts::new(),
            known_blocks: BTreeSet::new(),
            runtime_info: RuntimeInfo::now(),
            state: AgentState::Starting,
            losses_reported_at: Instant::now(),
            record_totals: RecordTotals::default(),
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
        let check_every = systemd::watchdog_interval().map_or(TICK_INTERVAL, |time| time.min(TICK_INTERVAL));
        let mut check = TimerFdInterval::every(check_every).context("no timer can be had")?;
        let mut prove = TimerFdInterval::every(self.options.self_test_interval).context("no timer can be had")?;
        let mut batch = Vec::new();
        self.start()?;
        systemd::ready(&self.service_status());
        loop {
            self.publish()?;
            tokio::select! {
                biased;
                signal = shutdown.signal() => {
                    tracing::info!("{signal}: the rest is read, then pfnwatch ends");
                    systemd::stopping();
                    break;
                }
                PendingRequest { request, peer, responder } = control.next() => {
                    let reply = self.answer(request, &peer);
                    self.publish()?;
                    responder.answer(reply);
                }
                _ = hangup.recv() => {
                    systemd::reloading();
                    self.reload()?;
                    self.reconcile()?;
                    self.check_store()?;
                    systemd::ready(&self.service_status());
                }
                change = modules.next() => self.on_module_event(change.context("the kernel's messages about modules")?)?,
                tick = check.tick() => {
                    tick?;
                    self.on_tick()?;
                }
                tick = prove.tick() => tick.map_err(Into::into).and_then(|()| self.self_test())?,
                call = self.web.next() => self.serve_view(call)?,
                due = self.alerts.next() => self.handle_alert_work(due),
                () = self.store.checkpoint_due() => self.store.checkpoint(),
                // The last: a flood of them must not hold off what people ask.
                records = records(self.sensor.as_mut(), &mut batch) => {
                    records.context("the ring buffer cannot be waited on")?;
                    self.process_records(&mut batch)?;
                    // What was seen goes before what is counted.
                    self.publish()?;
                    self.report_losses_throttled()?;
                    // Where there are always more, nothing else would ever be looked at.
                    tokio::task::yield_now().await;
                }
            }
        }
        self.heartbeat(true);
        self.detach()?;
        let ended = self.record_totals;
        self.emit(Event::now(Body::Stopped(ended)))
    }

    /// What comes again and again, whatever happens.
    fn on_tick(&mut self) -> anyhow::Result<()> {
        self.report_losses()?;
        self.reconcile()?;
        self.check_store()?;
        self.heartbeat(false);
        self.expire_exemptions()?;
        self.web.on_tick();
        self.check_alerts();
        systemd::notify_watchdog(&self.service_status());
        Ok(())
    }

    /// What comes once, before the loop.
    fn start(&mut self) -> anyhow::Result<()> {
        self.restore_blocks();
        self.emit_policy()?;
        self.reconcile()?;
        self.check_store()?;
        self.configure_alerts(self.options.alerts.clone());
        self.web.listen();
        // Types, symbols, the inventory: nothing of what the first look took is needed again.
        memory_trim::disable_thp();
        memory_trim::trim_heap();
        memory_trim::release_text_pages();
        if let Err(error) = privileges::drop_privileges() {
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
        self.recent_events.record(&event);
        self.alerts.on_event(&event);
        self.queue.push(event);
        self.publish_if_many()
    }
}

/// Whoever may not open the socket may not load programs either.
fn without_root(error: anyhow::Error) -> anyhow::Error {
    let denied = |cause: &io::Error| cause.kind() == io::ErrorKind::PermissionDenied;
    if error.root_cause().downcast_ref().is_some_and(denied) {
        return error.context(ExitContext::unsupported("this host cannot be observed without root"));
    }
    error
}

/// Waits for records; for ever while nothing is observed.
async fn records(observation: Option<&mut AttachedPrograms>, batch: &mut Vec<Bytes>) -> io::Result<()> {
    match observation {
        Some(observation) => observation.wait(batch).await,
        None => std::future::pending().await,
    }
}
