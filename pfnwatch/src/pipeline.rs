//! The agent's loop: records become events, events go to the sinks; libnvdimm comes and goes meanwhile.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use bytes::Bytes;
use nix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{
    assess::Host,
    cgroup::Cgroups,
    decode::{self, decode},
    event::{Blind, Body, Event, Ready, State, Stopped, Undecoded},
    inventory::{Inventory, Roots},
    kernel::{KernelFacts, target::Libnvdimm},
    kernel_watch::KernelWatch,
    labels::Labels,
    memory,
    module_watch::{Change, ModuleWatch},
    observation::{Observation, Options},
    shutdown::Shutdown,
    sinks::log::Log,
    verdicts,
};

/// How often the counters and the presence of libnvdimm are looked at without any occasion.
const CHECK_EVERY: Duration = Duration::from_secs(30);

/// How often they are looked at while records come.
const ACCOUNT_EVERY: Duration = Duration::from_secs(1);

/// The agent.
pub struct Pipeline<W> {
    options: Options,
    facts: KernelFacts,
    cgroups: Option<Cgroups>,
    log: Log<W>,
    observation: Option<Observation>,
    labels: Labels,
    kernel: KernelWatch,
    told: Told,
    accounted: Instant,
    ended: Stopped,
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
    pub fn new(options: Options, facts: KernelFacts, log: Log<W>) -> Self {
        let cgroups = Cgroups::open(&options.paths.sysfs);
        Self {
            options,
            facts,
            cgroups,
            log,
            observation: None,
            labels: Labels::default(),
            kernel: KernelWatch::default(),
            told: Told::Nothing,
            accounted: Instant::now(),
            ended: Stopped::default(),
        }
    }

    /// Observes until it is asked to end.
    ///
    /// # Errors
    /// This host cannot be observed, or standard output is gone.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut shutdown = Shutdown::listen().context("signals cannot be listened to")?;
        // Before the first look at the modules, so that no change between the two is missed.
        let mut modules = ModuleWatch::open().context("the kernel's messages about modules cannot be listened to")?;
        let mut check = interval_at(Instant::now() + CHECK_EVERY, CHECK_EVERY);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        self.look()?;
        loop {
            tokio::select! {
                biased;
                signal = shutdown.asked() => {
                    tracing::info!("{signal}: the rest is read, then pfnwatch ends");
                    break;
                }
                records = records(self.observation.as_mut(), &mut batch) => {
                    records.context("the ring buffer cannot be waited on")?;
                    self.deliver(&mut batch)?;
                    self.account_soon()?;
                }
                change = modules.next() => self.module(change.context("the kernel's messages about modules")?)?,
                _ = check.tick() => {
                    self.account()?;
                    self.look()?;
                }
            }
        }
        self.detach()?;
        let ended = self.ended;
        self.emit(Event::now(Body::Stopped(ended)))
    }

    fn module(&mut self, change: Change) -> anyhow::Result<()> {
        // After a removal the probes are gone with the code they stood on, even if the module is there again by now.
        if matches!(change, Change::Removed | Change::Overrun) && self.observation.is_some() {
            self.detach()?;
            let reason = match change {
                Change::Overrun => "the kernel's messages about modules came too fast: looking again",
                Change::Added | Change::Removed => "libnvdimm was unloaded",
            };
            self.blind(reason.to_owned())?;
        }
        self.look()
    }

    /// Attaches when there is something to attach to, and says whether the agent observes.
    fn look(&mut self) -> anyhow::Result<()> {
        let there = Libnvdimm::look(&self.options.paths);
        match (&self.observation, there) {
            (None, Libnvdimm::NotLoaded) => self.idle(),
            (None, Libnvdimm::Loaded | Libnvdimm::BuiltIn) => match self.attach() {
                // An agent that could observe once stays: what failed may mend itself, and silence would be a lie.
                Err(error) if self.told != Told::Nothing => self.blind(format!("{error:#}")),
                attached => attached,
            },
            (Some(_), Libnvdimm::NotLoaded) => self.module(Change::Removed),
            (Some(_), Libnvdimm::Loaded | Libnvdimm::BuiltIn) => Ok(()),
        }
    }

    fn attach(&mut self) -> anyhow::Result<()> {
        let observation = Observation::begin(&self.options)?;
        let programs = observation.programs.clone();
        self.observation = Some(observation);
        // Read after the attachment: what changes from now on is seen by the programs.
        let inventory = Inventory::read(&Roots::from(&self.options.paths)).unwrap_or_else(|error| {
            tracing::warn!("{error:#}: a destroyed namespace may be reported as a label that is written");
            Inventory::default()
        });
        self.labels = Labels::new(inventory.namespaces.iter().filter_map(|namespace| namespace.uuid.clone().ok()));
        let nothing = inventory.regions.is_empty().then(|| "there is no persistent memory yet".to_owned());
        self.told = Told::Observing;
        self.ready(State::Observing, nothing, programs)?;
        // Only now, since reading the kernel's symbols takes longer than all of the attachment.
        self.kernel.forget();
        self.weigh()
    }

    fn idle(&mut self) -> anyhow::Result<()> {
        if self.told == Told::Idle {
            return Ok(());
        }
        self.told = Told::Idle;
        self.ready(State::Idle, Some("libnvdimm is not loaded; waiting for it".to_owned()), Vec::new())
    }

    fn blind(&mut self, reason: String) -> anyhow::Result<()> {
        let now = Told::Blind(reason.clone());
        if self.told == now {
            return Ok(());
        }
        self.told = now;
        self.emit(Event::now(Body::Blind(Blind { reason })))
    }

    /// Ends the observation, if there is one: detaches first, and then reads what is left.
    fn detach(&mut self) -> anyhow::Result<()> {
        let Some(mut observation) = self.observation.take() else { return Ok(()) };
        observation.detach();
        let mut batch = Vec::new();
        while observation.source.drain(&mut batch) {
            self.deliver(&mut batch)?;
        }
        self.observation = Some(observation);
        self.account()?;
        self.observation = None;
        Ok(())
    }

    fn deliver(&mut self, batch: &mut Vec<Bytes>) -> anyhow::Result<()> {
        let (context, host) = (self.context()?, Host::from(&self.facts));
        for record in batch.drain(..) {
            self.ended.received += 1;
            let event = decode(&record, &context).unwrap_or_else(|error| {
                self.ended.undecoded += 1;
                let length_bytes = u64::try_from(record.len()).unwrap_or(u64::MAX);
                Event::now(Body::Undecoded(Undecoded { length_bytes, reason: error.to_string() }))
            });
            let mut event = self.labels.follow(event);
            verdicts::judge(&mut event, &host, &self.options.thresholds);
            let news = self.kernel.learn(&event);
            self.emit(event)?;
            if news {
                self.weigh()?;
            }
        }
        Ok(())
    }

    /// Says what the running kernel reserves for each page, where that is news.
    fn weigh(&mut self) -> anyhow::Result<()> {
        let known = self.kernel.look(&self.options.paths, &self.facts.release);
        memory::give_back();
        match known {
            Some(known) => self.emit(Event::now(Body::MaxStructPage(known))),
            None => Ok(()),
        }
    }

    /// The same, but not again and again while a burst goes on: a look-up in a map holds this CPU's probes off (they are
    /// skipped where a task that is probed comes in between, `trace_call_bpf` in kernel/trace/bpf_trace.c).
    fn account_soon(&mut self) -> anyhow::Result<()> {
        if self.accounted.elapsed() < ACCOUNT_EVERY { Ok(()) } else { self.account() }
    }

    /// Says what the kernel's side has missed since the last time.
    fn account(&mut self) -> anyhow::Result<()> {
        let Some(observation) = &mut self.observation else { return Ok(()) };
        self.accounted = Instant::now();
        let missed = observation.missed()?;
        if missed.is_nothing() {
            return Ok(());
        }
        self.ended.missed.add(missed);
        self.emit(Event::now(Body::Lost(missed)))
    }

    fn ready(
        &mut self,
        state: State,
        reason: Option<String>,
        programs: Vec<crate::event::ProgramState>,
    ) -> anyhow::Result<()> {
        let body = Body::Ready(Ready {
            state,
            reason,
            kernel: self.facts.release.clone(),
            struct_page_size_bytes: self.facts.struct_page_size,
            page_size_bytes: self.facts.page_size,
            programs,
        });
        self.emit(Event::now(body))
    }

    fn emit(&mut self, mut event: Event) -> anyhow::Result<()> {
        if let (Some(actor), Some(cgroups)) = (event.actor_mut(), &self.cgroups) {
            actor.cgroup = cgroups.path(actor.cgroup_id);
        }
        self.log.write(&event).context("standard output does not take the event")
    }

    fn context(&self) -> anyhow::Result<decode::Context> {
        let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).context("the clock since boot cannot be read")?;
        let now = SystemTime::now();
        Ok(decode::Context {
            booted: now.checked_sub(Duration::from(since_boot)).unwrap_or(now),
            page_size: self.facts.page_size,
            struct_page_size: self.facts.struct_page_size,
        })
    }
}

/// Waits for records; for ever while nothing is observed.
async fn records(observation: Option<&mut Observation>, batch: &mut Vec<Bytes>) -> std::io::Result<()> {
    match observation {
        Some(observation) => observation.wait(batch).await,
        None => std::future::pending().await,
    }
}
