//! The agent's loop: records become events, events are stored and logged; libnvdimm is loaded and unloaded meanwhile.
//!
//! [`Agent`] owns the parts, and alone decides in which order they act. Each part is a type of its own below this module or
//! in another room.

pub mod alert_store;
mod alerts;
mod baseline_watch;
mod control;
pub mod control_server;
mod enforcement;
mod event_summary;
mod initial_scan;
mod kernel_watch;
mod observation;
mod options;
mod publisher;
mod records;
mod runtime_info;
mod status;

use std::{
    io::{self, Write},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::signal::unix::{SignalKind, signal};

pub use self::options::Options;
use self::{
    alerts::{AlertWork, Alerts},
    baseline_watch::{BaselineWatch, boot_row},
    control_server::{Access, Peer, PendingRequest, Server},
    enforcement::{cannot_enforce, missing_prerequisites, require_effective, warn_of_skipped_exemptions},
    initial_scan::ReportedBlocks,
    kernel_watch::KernelWatch,
    observation::{Observation, probes_disabled_reason},
    publisher::Publisher,
    records::RecordAssessor,
    runtime_info::RuntimeInfo,
    status::AgentSnapshot,
};
use crate::{
    bpf::{pins::Pins, sensor::AttachedPrograms},
    config::Loaded,
    export::{
        event_log::Log,
        web::{SharedView, ViewCache, ViewRequest, Web},
    },
    guard::{Guard, self_test},
    kernel::{btf::Btf, libnvdimm::Libnvdimm},
    model::{
        control::{ErrorResponse, Reply, Request, Response},
        event::{Body, Event, MaxStructPageReport, ObservationState, PolicyRefused, ProgramState, Ready, Time},
        exit::ExitContext,
        inventory::Inventory,
        kernel::KernelFacts,
        policy::{Mode, Policy},
        redact::redact_quotes,
    },
    os::{
        interval::TimerFdInterval,
        memory_trim,
        privileges::{self, with_capabilities},
        shutdown::Shutdown,
        systemd,
    },
    scan::existing,
    store::EventStore,
    sysfs::{
        cgroup::Cgroups,
        inventory::SysfsRoots,
        module_watch::{ModuleChange, ModuleWatch},
    },
};

/// How often the counters and the presence of libnvdimm are checked, and the watchdog is notified; more often if the watchdog's
/// timeout is shorter.
const TICK_INTERVAL: Duration = Duration::from_secs(30);

/// The agent.
pub struct Agent<W> {
    options: Options,
    facts: KernelFacts,
    runtime_info: RuntimeInfo,
    observation: Observation,
    assessor: RecordAssessor,
    kernel: KernelWatch,
    guard: Guard,
    baseline: BaselineWatch,
    reported_blocks: ReportedBlocks,
    publisher: Publisher<W>,
    alerts: Alerts,
    web: Web,
    views: ViewCache,
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
        mut store: EventStore,
        log: Log<W>,
    ) -> anyhow::Result<Self> {
        let cgroups = Cgroups::open(&options.paths.sysfs);
        let guard = Guard::new(policy, &facts)?;
        let baseline = BaselineWatch::new(&mut store, &facts.release, facts.page_size);
        Ok(Self {
            runtime_info: RuntimeInfo::new(options.config_hash.clone(), options.config_files.clone()),
            observation: Observation::new(),
            assessor: RecordAssessor::new(&facts),
            kernel: KernelWatch::default(),
            guard,
            baseline,
            reported_blocks: ReportedBlocks::default(),
            publisher: Publisher::new(cgroups, log, store),
            alerts: Alerts::new(),
            web: Web::new(options.web.clone()),
            views: ViewCache::default(),
            options,
            facts,
        })
    }

    /// Has the first attachment use these types, so that they are read once.
    #[must_use]
    pub fn with_types(mut self, types: Option<Btf>) -> Self {
        self.observation.set_types(types);
        self
    }

    /// Observes until it is asked to end.
    ///
    /// # Errors
    /// This host cannot be observed, or standard output is gone.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let ended = self.observe().await;
        // Whatever ended it: the events until then are published.
        let published = self.publisher.publish();
        ended.and(published)
    }

    async fn observe(&mut self) -> anyhow::Result<()> {
        // Before all else: a second agent must not touch what the first one does.
        let mut control = Server::listen(&self.options.control_socket).map_err(without_root)?;
        let mut hangup = signal(SignalKind::hangup()).context("signals cannot be listened to")?;
        let mut shutdown = Shutdown::listen().context("signals cannot be listened to")?;
        // Before the modules are read for the first time, so that no change between the two is missed.
        let mut modules = ModuleWatch::open().context("the kernel's messages about modules cannot be listened to")?;
        let tick_interval = systemd::watchdog_interval().map_or(TICK_INTERVAL, |time| time.min(TICK_INTERVAL));
        let mut ticks = TimerFdInterval::every(tick_interval).context("no timer can be had")?;
        let mut self_tests = TimerFdInterval::every(self.options.self_test_interval).context("no timer can be had")?;
        let mut batch = Vec::new();
        self.start()?;
        systemd::ready(&self.snapshot().service_status());
        loop {
            self.publisher.publish()?;
            tokio::select! {
                biased;
                signal = shutdown.signal() => {
                    tracing::info!("{signal}: the rest is read, then pfnwatch ends");
                    systemd::stopping();
                    break;
                }
                PendingRequest { request, peer, responder } = control.next() => {
                    let reply = self.answer(request, &peer);
                    self.publisher.publish()?;
                    responder.answer(reply);
                }
                _ = hangup.recv() => {
                    systemd::reloading();
                    self.reload()?;
                    self.reconcile()?;
                    self.publisher.check_store()?;
                    systemd::ready(&self.snapshot().service_status());
                }
                change = modules.next() => self.on_module_event(change.context("the kernel's messages about modules")?)?,
                tick = ticks.tick() => {
                    tick?;
                    self.on_tick()?;
                }
                tick = self_tests.tick() => tick.map_err(Into::into).and_then(|()| self.self_test())?,
                request = self.web.next() => self.serve_view(request)?,
                work = self.alerts.next() => self.handle_alert_work(work),
                () = self.publisher.store().checkpoint_due() => self.publisher.store_mut().checkpoint(),
                // The last: a flood of records must not delay the answers to requests.
                records = self.observation.wait(&mut batch) => {
                    records.context("the ring buffer cannot be waited on")?;
                    self.process_records(&mut batch)?;
                    // Events are published before the report of losses.
                    self.publisher.publish()?;
                    self.report_losses_throttled()?;
                    // If there are always more records, nothing else would ever be polled.
                    tokio::task::yield_now().await;
                }
            }
        }
        self.heartbeat(true);
        self.detach()?;
        self.emit(Body::Stopped(self.observation.totals()))
    }

    /// The work that is done once, before the loop.
    fn start(&mut self) -> anyhow::Result<()> {
        self.publisher.restore_blocks();
        self.emit_policy()?;
        self.reconcile()?;
        self.publisher.check_store()?;
        self.alerts.configure(self.options.alerts.clone(), self.publisher.store_mut());
        self.web.listen();
        // Types, symbols, the inventory: nothing of what the first attachment took is needed again.
        memory_trim::disable_thp();
        memory_trim::trim_heap();
        if let Err(error) = privileges::drop_privileges() {
            tracing::warn!("the agent keeps more privileges than it needs: {error:#}");
        }
        Ok(())
    }

    /// The work that is repeated whatever happens.
    fn on_tick(&mut self) -> anyhow::Result<()> {
        self.report_losses()?;
        self.reconcile()?;
        self.publisher.check_store()?;
        self.heartbeat(false);
        self.expire_exemptions()?;
        self.web.on_tick();
        // Drops the last one if it is too old.
        self.views.fresh();
        self.check_alerts();
        systemd::notify_watchdog(&self.snapshot().service_status());
        Ok(())
    }

    // Events.

    fn emit(&mut self, body: Body) -> anyhow::Result<()> {
        self.emit_event(Event::now(body))
    }

    fn emit_all(&mut self, bodies: impl IntoIterator<Item = Body>) -> anyhow::Result<()> {
        bodies.into_iter().try_for_each(|body| self.emit(body))
    }

    /// Has the event published with the next [`Publisher::publish`].
    fn emit_event(&mut self, event: Event) -> anyhow::Result<()> {
        self.alerts.on_event(&event);
        self.publisher.emit(event)
    }

    // The programs.

    fn on_module_event(&mut self, change: ModuleChange) -> anyhow::Result<()> {
        // After a removal the probes are gone with the code that they were in, even if the module is loaded again by now.
        if matches!(change, ModuleChange::Removed | ModuleChange::Overrun) && self.observation.is_attached() {
            self.detach()?;
            let reason = match change {
                ModuleChange::Overrun => "the kernel's messages about modules came too fast: looking again",
                ModuleChange::Added | ModuleChange::Removed => "libnvdimm was unloaded",
            };
            self.report_blind(reason.to_owned())?;
        }
        self.reconcile()
    }

    /// Attaches the programs if libnvdimm is loaded and they are not attached, and reports whether the agent observes.
    fn reconcile(&mut self) -> anyhow::Result<()> {
        if Libnvdimm::detect(&self.options.paths) == Libnvdimm::NotLoaded {
            return if self.observation.is_attached() {
                self.on_module_event(ModuleChange::Removed)
            } else {
                self.report_idle()
            };
        }
        let is_first = self.observation.is_starting();
        match (probes_disabled_reason(&self.options.paths), self.observation.is_attached()) {
            // The kernel accepts a probe that never fires: it would look as if nothing ever happened.
            (Some(reason), _) if is_first => {
                Err(ExitContext::unsupported(format!("this host cannot be observed: {reason}")).into())
            }
            (Some(reason), _) => {
                self.detach()?;
                self.report_blind(reason)
            }
            (None, true) => Ok(()),
            (None, false) => {
                let attached = with_capabilities(|| self.attach());
                // Types, symbols, the inventory: nothing of it is needed again.
                memory_trim::trim_heap();
                match attached {
                    // An agent that could observe once goes on: the cause may go away, and until then the agent is reported as blind.
                    Err(error) if !is_first => self.report_blind(format!("{error:#}")),
                    attached => attached,
                }
            }
        }
    }

    fn attach(&mut self) -> anyhow::Result<()> {
        let is_first = self.observation.is_starting();
        let configured = self.guard.policy().mode;
        let types = self.observation.take_types();
        let mut attached = AttachedPrograms::attach(&self.options.sensor(), self.guard.on_exit(), types)?;
        let programs = attached.programs.clone();
        let (shared, taken_over) = (attached.shared, attached.taken_over);
        if let Some(maps) = attached.guard.take() {
            self.guard.attached(maps, shared, attached.guard_off())?;
        }
        self.observation.start(attached);
        // Read after the attachment: what changes from now on is seen by the programs.
        let inventory = Inventory::read(&SysfsRoots::from(&self.options.paths)).unwrap_or_else(|error| {
            tracing::warn!("{error:#}: a destroyed namespace may be reported as a label that is written");
            Inventory::default()
        });
        self.assessor.on_attached(inventory.namespaces.iter().filter_map(|namespace| namespace.uuid.clone().ok()));
        let nothing = inventory.regions.is_empty().then(|| "there is no persistent memory yet".to_owned());
        self.report_ready(ObservationState::Observing, nothing, programs)?;
        // Before what takes longer.
        self.publisher.publish()?;
        if taken_over && is_first {
            self.emit(Body::GuardTakenOver(self.guard.taken_over(configured, self.observation.pins())))?;
        }
        self.self_test()?;
        if is_first {
            require_effective(&self.guard)?;
        }
        // Only now, since reading the kernel's symbols takes longer than all of the attachment.
        self.kernel.forget();
        self.update_struct_page_size()?;
        self.arm(&inventory)?;
        self.report_existing_namespaces(inventory)
    }

    /// Ends the observation, if there is one: detaches first, and then reads the records that are left.
    fn detach(&mut self) -> anyhow::Result<()> {
        let Some(mut programs) = self.observation.take_programs() else { return Ok(()) };
        self.guard.detached("the programs are detached");
        programs.detach();
        let mut batch = Vec::new();
        while programs.source.drain(&mut batch) {
            self.process_records(&mut batch)?;
        }
        match self.observation.losses_of(&mut programs)? {
            Some(losses) => self.emit(Body::Lost(losses)),
            None => Ok(()),
        }
    }

    fn report_idle(&mut self) -> anyhow::Result<()> {
        if !self.observation.set_idle() {
            return Ok(());
        }
        let reason = "libnvdimm is not loaded; waiting for it".to_owned();
        self.report_ready(ObservationState::Idle, Some(reason), Vec::new())
    }

    fn report_blind(&mut self, reason: String) -> anyhow::Result<()> {
        match self.observation.set_blind(reason) {
            Some(blind) => self.emit(Body::Blind(blind)),
            None => Ok(()),
        }
    }

    fn report_ready(
        &mut self,
        state: ObservationState,
        reason: Option<String>,
        programs: Vec<ProgramState>,
    ) -> anyhow::Result<()> {
        self.emit(Body::Ready(Ready {
            state,
            reason,
            kernel: self.facts.release.clone(),
            struct_page_size_bytes: self.facts.struct_page_size,
            page_size_bytes: self.facts.page_size,
            programs,
        }))
    }

    // Records.

    fn process_records(&mut self, batch: &mut Vec<Bytes>) -> anyhow::Result<()> {
        let context = self.assessor.context()?;
        for record in batch.drain(..) {
            let mut event = self.assessor.assess(&record, &context, &self.guard.policy().thresholds);
            self.observation.count_record(!matches!(event.body, Body::DecodeError(_)));
            let is_new_size = self.kernel.observe(&event);
            self.publisher.info_blocks_mut().follow(&mut event);
            self.guard.annotate(&mut event);
            self.emit_event(event.clone())?;
            self.apply_to_guard(&event)?;
            self.discover_region(&event);
            let regressions = self.baseline.observe_event(self.publisher.store_mut(), &event);
            self.emit_all(regressions)?;
            if is_new_size {
                // Before what takes longer: symbols and code are read.
                self.publisher.publish()?;
                self.update_struct_page_size()?;
            }
        }
        Ok(())
    }

    fn apply_to_guard(&mut self, event: &Event) -> anyhow::Result<()> {
        self.reported_blocks.follow(event);
        match self.guard.follow(event)? {
            Some(grant) => self.emit(Body::ExemptionSpent(self.guard.exemption_change(&grant))),
            None => Ok(()),
        }
    }

    /// libnvdimm may find a region after the inventory was read: a namespace in a region that is not known shows that.
    fn discover_region(&mut self, event: &Event) {
        let start = match &event.body {
            Body::SetUp(set_up) => set_up.namespace.as_ref().map(|namespace| namespace.start_address),
            Body::Probe(probe) => probe.namespace.as_ref().map(|namespace| namespace.start_address),
            Body::Label(_) => None,
            _ => return,
        };
        if self.guard.has_unresolved_region(start) {
            self.update_regions();
        }
    }

    /// Reads the regions that libnvdimm has found since the inventory was read.
    fn update_regions(&mut self) {
        let inventory = Inventory::read(&SysfsRoots::from(&self.options.paths));
        if let Err(error) = inventory.and_then(|inventory| self.guard.update_regions(&inventory)) {
            tracing::warn!("{error:#}: an exemption of a region that came late does not count yet");
        }
    }

    /// Reports what the kernel's side has lost, but at most once a second.
    fn report_losses_throttled(&mut self) -> anyhow::Result<()> {
        if self.observation.has_read_losses() { Ok(()) } else { self.report_losses() }
    }

    fn report_losses(&mut self) -> anyhow::Result<()> {
        match self.observation.take_losses()? {
            Some(losses) => self.emit(Body::Lost(losses)),
            None => Ok(()),
        }
    }

    // What was there before, and what it cost.

    /// Reports each enabled namespace with map=dev that no event has reported.
    fn report_existing_namespaces(&mut self, inventory: Inventory) -> anyhow::Result<()> {
        for namespace in &inventory.namespaces {
            if let (Ok(start), Ok(uuid)) = (&namespace.resource, &namespace.uuid) {
                self.publisher.info_blocks_mut().mark_replaced(*start, *uuid);
            }
        }
        let (paths, thresholds) = (&self.options.paths, &self.guard.policy().thresholds);
        let (scan, blocks) = initial_scan::assess(paths, &self.facts, thresholds, inventory, self.observation.layout());
        for assessed in &scan.namespaces {
            if let (Some(block), Some(id)) =
                (blocks.raw(&assessed.namespace.name), initial_scan::namespace_id(assessed))
            {
                self.publisher.info_blocks_mut().read(&id, block, Time(SystemTime::now()));
            }
            let Some(existing) = existing::existing_namespace(assessed) else { continue };
            if self.reported_blocks.insert(&existing) {
                self.emit(Body::ExistingNamespace(Box::new(existing)))?;
            }
        }
        let regressions = self.baseline.observe_scan(self.publisher.store_mut(), &scan);
        self.emit_all(regressions)
    }

    /// Finds out the kernel's MAX_STRUCT_PAGE_SIZE, and applies and reports it if it changed.
    fn update_struct_page_size(&mut self) -> anyhow::Result<()> {
        let report = with_capabilities(|| self.kernel.update(&self.options.paths, &self.facts.release));
        memory_trim::trim_heap();
        let Some(report) = report else { return Ok(()) };
        self.emit(Body::MaxStructPage(report.clone()))?;
        self.compare_kernel(&report)?;
        if let Err(error) = self.guard.set_struct_page_size(self.kernel.max_struct_page()) {
            tracing::error!("the guard judges by what was known before: {error:#}");
        }
        self.emit_guard_state()
    }

    /// Compares the running kernel with earlier ones.
    fn compare_kernel(&mut self, report: &MaxStructPageReport) -> anyhow::Result<()> {
        // Without its boot id this boot cannot be distinguished from the others.
        let Some(boot) = boot_row(&self.options.paths, &self.facts, report) else { return Ok(()) };
        let regression = self.baseline.observe_kernel(self.publisher.store_mut(), boot);
        self.emit_all(regression)
    }

    /// Saves now and then, and at the end, that this kernel still runs.
    fn heartbeat(&mut self, ends: bool) {
        if self.observation.is_attached() {
            self.baseline.heartbeat(self.publisher.store_mut(), SystemTime::now(), ends);
        }
    }

    // The guard.

    /// Has the guard judge, now that the inventory is known.
    fn arm(&mut self, inventory: &Inventory) -> anyhow::Result<()> {
        let armed = self.guard.add_inventory(inventory).and_then(|()| self.guard.arm(self.kernel.max_struct_page()));
        if let Err(error) = armed {
            // It then judges nothing, and reports that with each creation.
            tracing::error!("the guard is not armed: {error:#}");
        } else if let Err(error) = Pins::system().remove_other_versions() {
            // It judges beside this one: a creation may be reported twice, and none slips through.
            tracing::error!("a guard of another version stays: {error:#}");
        }
        warn_of_skipped_exemptions(&self.guard);
        self.emit_guard_state()
    }

    /// Tests whether the guard's program runs.
    fn self_test(&mut self) -> anyhow::Result<()> {
        let Some(run_count) = self.observation.guard_run_count() else { return Ok(()) };
        let result = with_capabilities(|| self_test::self_test(run_count, &self.options.paths.sysfs));
        self.guard.set_self_test(result);
        self.emit_guard_state()
    }

    /// Reports the guard's state if it changed.
    fn emit_guard_state(&mut self) -> anyhow::Result<()> {
        self.assessor.on_guard_state(self.guard.is_armed())?;
        match self.guard.state_change(self.observation.pins()) {
            Some(state) => self.emit(Body::GuardState(state)),
            None => Ok(()),
        }
    }

    fn emit_policy(&mut self) -> anyhow::Result<()> {
        self.emit(Body::PolicyLoaded(self.guard.policy_loaded(self.runtime_info.config_files())))
    }

    fn expire_exemptions(&mut self) -> anyhow::Result<()> {
        for grant in self.guard.expire()? {
            self.emit(Body::ExemptionEnded(self.guard.exemption_change(&grant)))?;
        }
        Ok(())
    }

    /// Why this host cannot enforce. While libnvdimm is not loaded there is no guard: its prerequisites are checked instead.
    fn enforce_obstacle(&self) -> Option<String> {
        if self.observation.is_idle() { missing_prerequisites(&self.options) } else { self.guard.ineffective_reason() }
    }

    /// Reads the configuration again, and applies it as a whole or not at all.
    fn reload(&mut self) -> anyhow::Result<()> {
        let (file, on_exit) = (self.options.config.path().display().to_string(), self.guard.on_exit());
        match self.load_policy() {
            Ok(loaded) => {
                self.assessor.on_thresholds_changed()?;
                self.web.reload(loaded.config.web());
                if self.guard.on_exit() != on_exit {
                    // The programs are pinned or not when they are loaded.
                    self.detach()?;
                    self.reconcile()?;
                }
                self.runtime_info.on_reloaded(loaded.hash, loaded.files);
                self.emit_policy()?;
                warn_of_skipped_exemptions(&self.guard);
                self.emit_guard_state()
            }
            Err(error) => {
                // Events, the web page and alerts show it.
                let error = redact_quotes(&format!("{error:#}"));
                self.runtime_info.on_reload_failed(error.clone());
                self.emit(Body::PolicyRefused(PolicyRefused { file, error }))
            }
        }
    }

    /// Reads the configuration, and puts its policy and its receivers of alerts in force.
    fn load_policy(&mut self) -> anyhow::Result<Loaded> {
        let loaded = self.options.config.load()?;
        let policy = loaded.config.policy();
        if policy.exemptions.iter().any(|exemption| self.guard.is_unknown_region(exemption.subject)) {
            self.update_regions();
        }
        match self.enforce_obstacle() {
            Some(reason) if policy.mode == Mode::Enforce => anyhow::bail!(cannot_enforce(&reason)),
            _ => self.guard.replace(policy)?,
        }
        self.alerts.configure(loaded.config.alerts(), self.publisher.store_mut());
        Ok(loaded)
    }

    // Requests.

    /// Does what is requested over the control socket.
    fn answer(&mut self, request: Request, peer: &Peer) -> Reply {
        self.try_answer(request, peer).into()
    }

    fn try_answer(&mut self, request: Request, peer: &Peer) -> Result<Response, ErrorResponse> {
        let done = match request {
            Request::Mode { mode, reason } => {
                if mode == Mode::Enforce
                    && let Some(obstacle) = self.enforce_obstacle()
                {
                    return Err(ErrorResponse::unsupported(cannot_enforce(&obstacle)));
                }
                control::change_mode(&mut self.guard, &mut self.runtime_info, mode, reason, peer)?
            }
            Request::Allow(allow) => {
                if self.guard.is_unknown_region(allow.subject) {
                    self.update_regions();
                }
                control::allow(&mut self.guard, allow, peer)?
            }
            Request::Revoke { id } => control::revoke(&mut self.guard, id, peer)?,
            Request::AcceptBaseline { scope, reason } => {
                control::accept_baseline(&mut self.baseline, self.publisher.store_mut(), &scope, reason, peer)?
            }
            Request::Release => control::release(&self.guard, peer)?,
            Request::Status if peer.access == Access::ReadOnly => {
                return Ok(Response::Status(Box::new(self.shared_view().view.status.clone())));
            }
            Request::Status => return Ok(Response::Status(Box::new(self.snapshot().status()))),
            Request::Block { namespace } => return control::block(self.publisher.info_blocks(), &namespace),
            Request::Alerts => {
                match peer.access {
                    Access::Full => self.evaluate_alerts(),
                    Access::ReadOnly => {
                        let shared = self.shared_view();
                        self.alerts.evaluate(&shared.view, self.publisher.store_mut());
                    }
                }
                return Ok(Response::Alerts(Box::new(self.alerts.status())));
            }
        };
        self.emit(done.event)?;
        if done.changes_guard {
            self.emit_guard_state()?;
        }
        Ok(done.response)
    }

    /// Answers a request over the web.
    fn serve_view(&mut self, request: ViewRequest) -> anyhow::Result<()> {
        if request.is_given_up() {
            return Ok(());
        }
        self.report_losses_throttled()?;
        request.answer(self.shared_view());
        Ok(())
    }

    /// A view for those who may only look, at most a second old: whatever they do, it is made once a second.
    fn shared_view(&mut self) -> SharedView {
        if let Some(view) = self.views.fresh() {
            return view;
        }
        let view = self.snapshot().view();
        self.views.keep(view)
    }

    // Alerts.

    /// Evaluates the alerts and sends what is due, and the firing ones to receivers that forget.
    fn check_alerts(&mut self) {
        if self.alerts.has_receivers() {
            self.evaluate_alerts();
            self.alerts.send();
            self.alerts.resend_firing();
        }
    }

    /// Does what [`Alerts::next`] asks for.
    fn handle_alert_work(&mut self, work: AlertWork) {
        match work {
            AlertWork::Evaluate => self.evaluate_alerts(),
            AlertWork::Send => {}
            AlertWork::Outcome(delivery, result) => {
                self.alerts.on_outcome(&delivery, &result, self.publisher.store_mut());
                memory_trim::trim_heap();
            }
        }
        self.alerts.send();
    }

    fn evaluate_alerts(&mut self) {
        let view = self.snapshot().view();
        self.alerts.evaluate(&view, self.publisher.store_mut());
    }

    fn snapshot(&self) -> AgentSnapshot<'_> {
        AgentSnapshot {
            options: &self.options,
            facts: &self.facts,
            runtime_info: &self.runtime_info,
            observation: &self.observation,
            assessor: &self.assessor,
            reported_blocks: &self.reported_blocks,
            kernel: &self.kernel,
            guard: &self.guard,
            info_blocks: self.publisher.info_blocks(),
            baseline: &self.baseline,
            events: self.publisher.summary(),
            store: self.publisher.store(),
            web: &self.web,
            alerts: &self.alerts,
        }
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
