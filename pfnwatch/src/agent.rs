//! The agent's loop: records become events, events are stored and logged; libnvdimm is loaded and unloaded meanwhile.
//!
//! [`Agent`] owns the parts, and alone decides in which order they act. Each part is a type of its own below this module or
//! in another room. `AgentState` knows how things are; the kernel and the time are passed in as [`Sensor`] and [`Clock`].

pub mod alert_store;
mod alerts;
mod attach_retry;
mod baseline_watch;
mod control;
pub mod control_server;
mod device_watch;
mod enforcement;
mod event_summary;
mod failure;
mod initial_scan;
mod kernel_watch;
mod losses;
mod memmap_measurement;
pub mod memmap_watch;
mod options;
mod publisher;
mod records;
mod runtime_info;
pub mod sensor;
mod state;
mod status;

use std::future::poll_fn;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;

use self::alerts::{AlertWork, Alerts};
use self::attach_retry::AttachRetry;
use self::baseline_watch::{BaselineWatch, boot_row};
use self::control_server::{Access, Peer, PendingRequest, Server};
use self::device_watch::{DeviceNews, DeviceWatch, DeviceWork};
use self::enforcement::{cannot_enforce, warn_of_skipped_exemptions};
use self::failure::Fatal;
use self::initial_scan::ReportedBlocks;
use self::kernel_watch::KernelWatch;
use self::losses::Losses;
use self::memmap_watch::{MemmapWatch, MemmapWork};
pub use self::options::Options;
use self::publisher::Publisher;
use self::records::RecordAssessor;
use self::runtime_info::RuntimeInfo;
use self::sensor::{Attachment, Observed, Sensor};
use self::state::AgentState;
use self::status::AgentSnapshot;
use crate::analysis::label_tracker::News;
use crate::bpf::decode;
use crate::bpf::takeover::OnExit;
use crate::code::memmap_free::MemmapReturn;
use crate::config::Loaded;
use crate::export::event_log::Log;
use crate::export::web::{SharedView, ViewCache, ViewRequest, Web};
use crate::guard::Guard;
use crate::model::control::{ErrorResponse, ModeResponse, Reply, Request, Response};
use crate::model::event::{Body, Event, MaxStructPageReport, ObservationState, PolicyRefused, Ready, Time};
use crate::model::exit::{Exit, ExitContext};
use crate::model::facts::KernelParameters;
use crate::model::inventory::Inventory;
use crate::model::kernel::KernelFacts;
use crate::model::policy::{Mode, Policy};
use crate::model::redact::redact_quotes;
use crate::model::scan_result::ScanResult;
use crate::model::status::{AgentPhase, DegradedPart};
use crate::os::clock::{Clock, Interval};
use crate::os::privileges::{self, with_capabilities};
use crate::os::signals::{Signal, Signals};
use crate::os::{memory_trim, systemd};
use crate::scan::{self, existing};
use crate::store::EventStore;
use crate::sysfs::cgroup::Cgroups;
use crate::sysfs::inventory::SysfsRoots;
use crate::sysfs::module_watch::ModuleChange;

/// How often the counters and the presence of libnvdimm are checked, and the watchdog is notified; more often if the watchdog's
/// timeout is shorter.
const TICK_INTERVAL: Duration = Duration::from_secs(30);

/// What the agent's loop waits for, beside the agent's own parts.
struct Inputs<'a> {
    signals: &'a mut Signals,
    control: Server,
    ticks: Box<dyn Interval>,
    self_tests: Box<dyn Interval>,
    /// Records that are not processed yet.
    batch: Vec<Bytes>,
}

/// The agent.
pub struct Agent<W> {
    options: Options,
    facts: KernelFacts,
    clock: Rc<dyn Clock>,
    sensor: Box<dyn Sensor>,
    state: AgentState,
    attach_retry: AttachRetry,
    runtime_info: RuntimeInfo,
    losses: Losses,
    assessor: RecordAssessor,
    kernel: KernelWatch,
    memmap: MemmapWatch,
    devices: DeviceWatch,
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
    pub fn new(
        options: Options,
        policy: Policy,
        facts: KernelFacts,
        mut store: EventStore,
        log: Log<W>,
        sensor: Box<dyn Sensor>,
        clock: Rc<dyn Clock>,
    ) -> Self {
        let cgroups = Cgroups::open(&options.paths.sysfs);
        let guard = Guard::new(policy, &facts, Rc::clone(&clock));
        let roots = SysfsRoots::from(&options.paths);
        let devices = DeviceWatch::new(roots, KernelParameters::from(&facts), Rc::clone(&clock));
        let baseline = BaselineWatch::new(&mut store, &facts.release, facts.page_size);
        Self {
            runtime_info: RuntimeInfo::new(options.config_hash.clone(), options.config_files.clone(), clock.wall()),
            state: AgentState::new(),
            attach_retry: AttachRetry::default(),
            losses: Losses::default(),
            assessor: RecordAssessor::new(&facts, Rc::clone(&clock)),
            kernel: KernelWatch::default(),
            memmap: MemmapWatch::new(&facts),
            devices,
            guard,
            baseline,
            reported_blocks: ReportedBlocks::default(),
            publisher: Publisher::new(cgroups, log, store),
            alerts: Alerts::new(Rc::clone(&clock)),
            web: Web::new(options.web.clone()),
            views: ViewCache::default(),
            options,
            facts,
            clock,
            sensor,
        }
    }

    /// Observes until it is asked to end.
    ///
    /// # Errors
    /// This host cannot be observed, or standard output is gone.
    pub async fn run(mut self, mut signals: Signals) -> anyhow::Result<()> {
        let ended = self.observe(&mut signals).await;
        // Whatever ended it: the events until then are published.
        let published = self.publisher.publish();
        ended.and(published).map_err(Fatal::into_error)
    }

    async fn observe(&mut self, signals: &mut Signals) -> Result<(), Fatal> {
        let mut inputs = self.open_inputs(signals)?;
        self.start()?;
        systemd::ready(&self.snapshot().service_status());
        while self.turn(&mut inputs).await? {}
        self.state.set_phase(AgentPhase::Draining);
        self.heartbeat(true);
        self.detach()?;
        self.emit(Body::Stopped(self.losses.totals()))
    }

    fn open_inputs<'a>(&self, signals: &'a mut Signals) -> Result<Inputs<'a>, Fatal> {
        // Before all else: a second agent must not touch what the first one does.
        let control = Server::listen(&self.options.control_socket);
        let control = control.map_err(|error| Fatal::new(without_root(error)))?;
        let tick_interval = systemd::watchdog_interval().map_or(TICK_INTERVAL, |time| time.min(TICK_INTERVAL));
        let ticks = self.timer(tick_interval)?;
        let self_tests = self.timer(self.options.self_test_interval)?;
        Ok(Inputs { signals, control, ticks, self_tests, batch: Vec::new() })
    }

    /// Publishes what there is, and does what comes next. Returns false if the agent is asked to end.
    async fn turn(&mut self, inputs: &mut Inputs<'_>) -> Result<bool, Fatal> {
        self.publisher.publish()?;
        let Inputs { signals, control, ticks, self_tests, batch } = inputs;
        tokio::select! {
            biased;
            signal = signals.next() => return self.on_signal(signal),
            request = control.next() => self.on_request(request)?,
            tick = poll_fn(|context| ticks.poll_tick(context)) => {
                tick.map_err(Fatal::new)?;
                self.on_tick()?;
            }
            tick = poll_fn(|context| self_tests.poll_tick(context)) => {
                tick.map_err(Fatal::new)?;
                self.self_test()?;
            }
            () = poll_fn(|context| self.attach_retry.poll_due(context)) => self.reconcile()?,
            request = self.web.next() => self.serve_view(request)?,
            work = self.alerts.next() => self.handle_alert_work(work),
            work = poll_fn(|context| self.memmap.poll_next(context)) => self.on_memmap_work(work)?,
            work = poll_fn(|context| self.devices.poll_next(context)) => self.on_device_work(work)?,
            () = self.publisher.store().checkpoint_due() => self.publisher.store_mut().checkpoint(),
            // The last: a flood of records must not delay the answers to requests.
            observed = poll_fn(|context| self.sensor.poll_next(context, batch)) => {
                self.on_observed(observed, batch)?;
                // If there are always more records, nothing else would ever be polled.
                tokio::task::yield_now().await;
            }
        }
        Ok(true)
    }

    /// Returns false if the agent is asked to end.
    fn on_signal(&mut self, signal: Signal) -> Result<bool, Fatal> {
        match signal {
            Signal::End(name) => {
                tracing::info!("{name}: the rest is read, then pfnwatch ends");
                systemd::stopping();
                Ok(false)
            }
            Signal::Reload => {
                systemd::reloading();
                self.reload()?;
                self.reconcile()?;
                self.check_store()?;
                systemd::ready(&self.snapshot().service_status());
                Ok(true)
            }
        }
    }

    fn on_request(&mut self, PendingRequest { request, peer, responder }: PendingRequest) -> Result<(), Fatal> {
        let reply = self.answer(request, &peer)?;
        self.publisher.publish()?;
        responder.answer(reply);
        Ok(())
    }

    fn on_observed(&mut self, observed: Observed, batch: &mut Vec<Bytes>) -> Result<(), Fatal> {
        match observed {
            Observed::Module(change) => self.on_module_event(change),
            Observed::Records(Ok(())) => {
                self.process_records(batch)?;
                // Events are published before the report of losses.
                self.publisher.publish()?;
                self.report_losses_throttled()
            }
            Observed::Records(Err(error)) => self.go_blind(format!("the ring buffer cannot be waited on: {error}")),
        }
    }

    fn on_memmap_work(&mut self, work: MemmapWork) -> Result<(), Fatal> {
        match work {
            MemmapWork::Code(found) => self.on_memmap_code(found),
            MemmapWork::Settled(timer) => {
                timer.map_err(Fatal::new)?;
                if self.memmap.on_settled(&self.options.paths) { self.on_memmap_verdict() } else { Ok(()) }
            }
        }
    }

    fn on_device_work(&mut self, work: DeviceWork) -> Result<(), Fatal> {
        match work {
            DeviceWork::MessagesFailed(error) => {
                let error = anyhow::Error::from(error).context("the kernel's messages about devices cannot be read");
                self.note::<()>(DegradedPart::DeviceEvents, Err(error));
                Ok(())
            }
            DeviceWork::Read(reading) => {
                let Some(reading) = self.note(DegradedPart::Devices, reading) else { return Ok(()) };
                let news = self.devices.on_read(reading);
                memory_trim::trim_heap();
                self.report_devices(news)
            }
        }
    }

    /// Reports what happened to devices, and what was lost with their memmaps.
    fn report_devices(&mut self, DeviceNews { events, removals, index }: DeviceNews) -> Result<(), Fatal> {
        self.emit_all(events)?;
        // The probes see more, and at once.
        let unseen = if self.state.is_observing() { Vec::new() } else { removals };
        if !unseen.is_empty() && self.memmap.is_unread() {
            self.memmap.read(with_capabilities(|| self.sensor.read_memmap_code()));
        }
        let clock = &*self.clock;
        let lost: Vec<_> = unseen.into_iter().filter_map(|removal| self.memmap.on_removal(removal, clock)).collect();
        self.memmap.on_devices(index);
        lost.into_iter().try_for_each(|event| self.emit_event(event))
    }

    fn timer(&self, period: Duration) -> Result<Box<dyn Interval>, Fatal> {
        self.clock.every(period).context("no timer can be had").map_err(Fatal::new)
    }

    /// The work that is done once, before the loop.
    fn start(&mut self) -> Result<(), Fatal> {
        self.publisher.restore_blocks();
        let booted = self.clock.wall().checked_sub(self.clock.since_boot());
        let lost = booted.and_then(|booted| self.publisher.store_mut().unreturned_memmaps(booted));
        self.memmap.restore(lost.unwrap_or_default());
        self.adopt_pinned_guard();
        self.emit_policy()?;
        // In this order: what happens to a device from now on is news.
        self.hear_device_messages();
        let devices = self.devices.begin();
        if let Some(index) = self.note(DegradedPart::Devices, devices) {
            self.memmap.on_devices(index);
        }
        self.reconcile()?;
        self.check_store()?;
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
    fn on_tick(&mut self) -> Result<(), Fatal> {
        self.retry()?;
        let swept = self.sensor.sweep();
        self.note(DegradedPart::Counters, swept);
        self.report_losses()?;
        self.reconcile()?;
        self.check_store()?;
        self.heartbeat(false);
        self.compare_devices()?;
        self.expire_exemptions()?;
        self.forget_destroyed();
        self.memmap.on_tick(&self.options.paths);
        self.devices.on_tick();
        self.web.on_tick();
        // Drops the last one if it is too old.
        self.views.fresh();
        self.check_alerts();
        systemd::notify_watchdog(&self.snapshot().service_status());
        Ok(())
    }

    fn check_store(&mut self) -> Result<(), Fatal> {
        self.publisher.check_store(self.clock.wall())?;
        self.baseline.restore_rows(self.publisher.store_mut());
        Ok(())
    }

    /// Retries what has failed and is not attempted again by itself.
    fn retry(&mut self) -> Result<(), Fatal> {
        let repaired = self.sensor.repair();
        self.note(DegradedPart::ModuleEvents, repaired);
        self.hear_device_messages();
        if !self.state.is_observing() && !self.guard.is_open() {
            self.adopt_pinned_guard();
        }
        if self.state.degraded.is_failing(DegradedPart::Policy) {
            let published = self.guard.publish();
            self.note(DegradedPart::Policy, published);
            self.emit_guard_state()?;
        }
        if self.state.degraded.is_failing(DegradedPart::Regions) {
            self.update_regions();
        }
        if self.state.is_observing() && self.state.degraded.is_failing(DegradedPart::Arming) {
            let inventory = self.take_inventory();
            self.arm(inventory.as_ref().map_err(|error| anyhow::anyhow!("{error:#}")))?;
            if let Ok(inventory) = inventory {
                self.report_existing_namespaces(inventory)?;
            }
        }
        Ok(())
    }

    fn hear_device_messages(&mut self) {
        if !self.devices.hears_messages()
            && let Some(messages) = self.note(DegradedPart::DeviceEvents, self.sensor.device_messages())
        {
            self.devices.hear(messages);
        }
    }

    /// Records the result of something that the agent goes on without.
    fn note<T>(&mut self, part: DegradedPart, result: anyhow::Result<T>) -> Option<T> {
        self.state.degraded.note(part, self.clock.wall(), result)
    }

    // Events.

    fn emit(&mut self, body: Body) -> Result<(), Fatal> {
        self.emit_event(Event::at(Time(self.clock.wall()), body))
    }

    fn emit_all(&mut self, bodies: impl IntoIterator<Item = Body>) -> Result<(), Fatal> {
        bodies.into_iter().try_for_each(|body| self.emit(body))
    }

    /// Has the event published with the next [`Publisher::publish`].
    fn emit_event(&mut self, event: Event) -> Result<(), Fatal> {
        self.alerts.on_event(&event);
        self.publisher.emit(event)
    }

    // The programs.

    fn on_module_event(&mut self, change: io::Result<ModuleChange>) -> Result<(), Fatal> {
        let change = change.context("the kernel's messages about modules cannot be read");
        let change = self.note(DegradedPart::ModuleEvents, change).unwrap_or(ModuleChange::Overrun);
        // After a removal the probes are gone with the code that they were in, even if the module is loaded again by now.
        if matches!(change, ModuleChange::Removed | ModuleChange::Overrun) && self.state.is_observing() {
            let reason = match change {
                ModuleChange::Overrun => "messages of the kernel about modules were lost: looking again",
                ModuleChange::Added | ModuleChange::Removed => "libnvdimm was unloaded",
            };
            self.go_blind(reason.to_owned())?;
        }
        self.reconcile()
    }

    /// Attaches the programs if libnvdimm is loaded and they are not attached, and reports whether the agent observes.
    fn reconcile(&mut self) -> Result<(), Fatal> {
        self.attach_retry.cancel();
        self.try_reconcile()?;
        if self.attach_retry.remaining(&*self.clock).is_none() {
            self.attach_retry = AttachRetry::default();
            self.state.degraded.forget(DegradedPart::Programs);
            self.state.on_started();
        }
        Ok(())
    }

    fn try_reconcile(&mut self) -> Result<(), Fatal> {
        if !self.sensor.is_module_loaded() {
            return self.wait_for_module();
        }
        let is_starting = self.state.phase() == AgentPhase::Starting;
        match self.sensor.probes_disabled_reason() {
            // The kernel accepts a probe that never fires: it would look as if nothing ever happened. Beside a pinned guard, whose
            // probes do not fire either, the agent starts blind: it has to disarm that guard.
            Some(reason) if is_starting && !self.guard.is_open() => {
                Err(Fatal::new(ExitContext::unsupported(format!("this host cannot be observed: {reason}"))))
            }
            Some(reason) => self.go_blind(reason),
            None if self.state.is_observing() && !self.guard.is_stale() => Ok(()),
            None => {
                if self.state.is_observing() {
                    self.go_blind("libnvdimm was loaded again".to_owned())?;
                }
                let attached = with_capabilities(|| self.try_attach());
                // Types, symbols, the inventory: nothing of it is needed again.
                let done = match attached {
                    Ok(attached) => self.on_attached(attached),
                    // A pinned guard is left as it is.
                    Err(error) if is_starting && Exit::from_error(&error) == Exit::Unsupported => {
                        Err(Fatal::new(error))
                    }
                    // The cause may go away, and until then the agent is reported as blind.
                    Err(error) => self.on_attach_failed(error, is_starting),
                };
                memory_trim::trim_heap();
                done
            }
        }
    }

    /// Attaches the programs and opens the guard's maps. If this fails half-way, [`Self::go_blind`] detaches what there is.
    fn try_attach(&mut self) -> anyhow::Result<AttachedParts> {
        let Attachment { guard, guard_off, shared, taken_over } = self.sensor.attach(self.guard.on_exit())?;
        let counters = self.sensor.counters()?.unwrap_or_default();
        let continues = self.guard.open(guard, shared)?;
        self.losses.on_attached(counters);
        if continues {
            self.runtime_info.on_adopted(self.guard.mode_source(), self.clock.wall());
        }
        Ok(AttachedParts { guard_off, taken_over })
    }

    /// The programs are not attached, and will be tried again. `is_first`: they never were.
    fn on_attach_failed(&mut self, error: anyhow::Error, is_first: bool) -> Result<(), Fatal> {
        self.attach_retry.schedule(&*self.clock);
        let reason = format!("{error:#}");
        self.note::<()>(DegradedPart::Programs, Err(error));
        if !is_first {
            return self.go_blind(reason);
        }
        // A pinned guard judges on as it did without an agent: its own programs update its evidence.
        self.detach()?;
        self.report_blind(reason)?;
        self.emit_guard_state()
    }

    fn on_attached(&mut self, AttachedParts { guard_off, taken_over }: AttachedParts) -> Result<(), Fatal> {
        self.note(DegradedPart::Programs, Ok(()));
        let is_first = self.state.on_attached(guard_off, self.guard.on_exit() == OnExit::Pinned);
        // Read after the attachment: what changes from now on is seen by the programs.
        let inventory = self.take_inventory();
        let namespaces = inventory.iter().flat_map(|inventory| &inventory.namespaces);
        self.assessor.on_attached(namespaces.filter_map(|namespace| namespace.uuid.clone().ok()));
        let is_empty = inventory.as_ref().is_ok_and(|inventory| inventory.regions.is_empty());
        self.report_ready(ObservationState::Observing, is_empty.then_some("there is no persistent memory yet"))?;
        // Before what takes longer.
        self.publisher.publish()?;
        if self.memmap.is_unread() {
            self.memmap.read(with_capabilities(|| self.sensor.read_memmap_code()));
        }
        if taken_over && is_first {
            self.emit(Body::GuardTakenOver(self.guard.taken_over(self.sensor.pins())))?;
        }
        self.self_test()?;
        // Only now, since reading the kernel's symbols takes longer than all of the attachment.
        self.kernel.forget();
        self.update_struct_page_size()?;
        self.arm(inventory.as_ref().map_err(|error| anyhow::anyhow!("{error:#}")))?;
        if is_first {
            self.require_effective()?;
        }
        match inventory {
            Ok(inventory) => self.report_existing_namespaces(inventory),
            Err(_) => Ok(()),
        }
    }

    /// Reads the inventory by which the guard is armed.
    fn take_inventory(&mut self) -> anyhow::Result<Inventory> {
        self.guard.begin_inventory()?;
        self.read_inventory()
    }

    fn read_inventory(&self) -> anyhow::Result<Inventory> {
        Inventory::read(&SysfsRoots::from(&self.options.paths))
    }

    /// Ends the observation, if there is one: detaches first, and then reads the records that are left. A pinned guard stays.
    fn detach(&mut self) -> Result<(), Fatal> {
        if !self.sensor.is_attached() {
            return Ok(());
        }
        self.sensor.detach();
        let mut batch = Vec::new();
        while self.sensor.drain(&mut batch) {
            self.process_records(&mut batch)?;
        }
        self.report_losses()?;
        let stays = !self.sensor.pins().is_empty();
        if !stays {
            self.guard.close();
        }
        self.state.on_detached(stays);
        Ok(())
    }

    /// The agent cannot observe: nothing is attached any more, and a pinned guard, whose evidence is not updated, is disarmed.
    fn go_blind(&mut self, reason: String) -> Result<(), Fatal> {
        self.detach()?;
        self.report_blind(reason)?;
        self.disarm();
        self.emit_guard_state()
    }

    fn report_blind(&mut self, reason: String) -> Result<(), Fatal> {
        match self.state.set_blind(reason) {
            Some(blind) => self.emit(Body::Blind(blind)),
            None => Ok(()),
        }
    }

    fn wait_for_module(&mut self) -> Result<(), Fatal> {
        if self.state.is_observing() {
            self.go_blind("libnvdimm was unloaded".to_owned())?;
        }
        let is_news = self.state.set_waiting();
        if is_news {
            self.report_ready(
                ObservationState::Idle,
                Some("no namespace can have a memmap, since libnvdimm is not loaded; waiting for it"),
            )?;
        }
        self.disarm();
        if self.guard.is_open() { self.emit_guard_state() } else { Ok(()) }
    }

    /// Disarms a guard that judges by what is not updated any more.
    fn disarm(&mut self) {
        if self.guard.is_open() && self.guard.has_blocks() {
            let disarmed = self.guard.disarm();
            self.note(DegradedPart::Policy, disarmed);
        }
    }

    /// Opens the maps of a guard that an earlier agent has pinned, and continues with its mode and its exemptions.
    fn adopt_pinned_guard(&mut self) {
        let opened = with_capabilities(|| {
            let Some(tables) = self.sensor.open_pinned_guard()? else { return Ok(false) };
            let continues = self.guard.open(tables, true)?;
            self.losses.on_attached(self.sensor.counters()?.unwrap_or_default());
            if continues {
                self.runtime_info.on_adopted(self.guard.mode_source(), self.clock.wall());
            }
            Ok(true)
        });
        if self.note(DegradedPart::Pins, opened) == Some(true) {
            self.state.on_pinned_guard();
        }
    }

    fn report_ready(&mut self, state: ObservationState, reason: Option<&str>) -> Result<(), Fatal> {
        self.emit(Body::Ready(Ready {
            state,
            reason: reason.map(str::to_owned),
            kernel: self.facts.release.clone(),
            struct_page_size_bytes: self.facts.struct_page_size,
            page_size_bytes: self.facts.page_size,
            programs: self.sensor.programs(),
        }))
    }

    // Records.

    fn process_records(&mut self, batch: &mut Vec<Bytes>) -> Result<(), Fatal> {
        let context = self.assessor.context();
        for record in batch.drain(..) {
            if let Some(removal) = decode::memmap_removal(&record, &context) {
                self.losses.count_record(true);
                self.memmap.on_removal(removal, &*self.clock).map_or(Ok(()), |event| self.emit_event(event))?;
                continue;
            }
            let (mut event, news) = self.assessor.assess(&record, &context, &self.guard.policy().thresholds);
            self.losses.count_record(!matches!(event.body, Body::DecodeError(_)));
            let weigh_again = self.kernel.observe(&event);
            self.memmap.follow(&event, &*self.clock);
            self.follow_destroyed(&event);
            self.publisher.info_blocks_mut().follow(&mut event);
            self.guard.annotate(&mut event);
            if news == News::Yes {
                self.emit_event(event.clone())?;
            }
            self.apply_to_guard(&event)?;
            self.discover_region(&event);
            let regressions = self.baseline.observe_event(self.publisher.store_mut(), &event);
            self.emit_all(regressions)?;
            if weigh_again {
                // Before what takes longer: symbols and code are read.
                self.publisher.publish()?;
                self.update_struct_page_size()?;
            }
        }
        Ok(())
    }

    /// Memory of a namespace that is destroyed may still be online as system RAM.
    fn follow_destroyed(&mut self, event: &Event) {
        if let Body::Destroy(change) = &event.body
            && let Some(namespace) = change.namespace_uuid.and_then(|uuid| self.memmap.namespace(uuid))
        {
            self.devices.on_destroyed(namespace.clone(), change.by.clone());
        }
    }

    fn apply_to_guard(&mut self, event: &Event) -> Result<(), Fatal> {
        self.reported_blocks.follow(event);
        let (spent, published) = self.guard.follow(event);
        if published.is_err() || spent.is_some() {
            self.note(DegradedPart::Policy, published);
        }
        match spent {
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
        let updated = self.read_inventory().and_then(|inventory| self.guard.update_regions(&inventory));
        self.note(DegradedPart::Regions, updated);
    }

    /// Makes room in the guard's map of known blocks.
    fn forget_destroyed(&mut self) {
        let roots = SysfsRoots::from(&self.options.paths);
        let forgotten = self.guard.forget_destroyed(|| Inventory::namespace_places(&roots));
        self.note(DegradedPart::Regions, forgotten);
    }

    /// Reports what the kernel's side has lost, but at most once a second.
    fn report_losses_throttled(&mut self) -> Result<(), Fatal> {
        if self.losses.are_recent(self.clock.since_boot()) { Ok(()) } else { self.report_losses() }
    }

    fn report_losses(&mut self) -> Result<(), Fatal> {
        self.losses.on_read(self.clock.since_boot());
        let counters = self.sensor.counters();
        let Some(Some(counters)) = self.note(DegradedPart::Counters, counters) else { return Ok(()) };
        match self.losses.take(counters) {
            Some(losses) => self.emit(Body::Lost(losses)),
            None => Ok(()),
        }
    }

    // What was there before, and what it cost.

    /// Reports each enabled namespace with map=dev that no event has reported.
    fn report_existing_namespaces(&mut self, inventory: Inventory) -> Result<(), Fatal> {
        for namespace in &inventory.namespaces {
            if let (Ok(start), Ok(uuid)) = (&namespace.resource, &namespace.uuid) {
                self.publisher.info_blocks_mut().mark_replaced(*start, *uuid);
            }
        }
        let (mut blocks, problem) = self.sensor.info_blocks(&inventory);
        blocks.add_saved(&inventory.namespaces, self.publisher.info_blocks().iter());
        if let Some(problem) = problem {
            tracing::warn!("info blocks of enabled namespaces cannot be read: {problem}");
        }
        let scan = ScanResult::assess(inventory, &blocks, self.facts.clone(), &self.guard.policy().thresholds);
        for assessed in &scan.namespaces {
            if let Some(id) = initial_scan::namespace_id(assessed) {
                if let Some(block) = blocks.raw(&assessed.namespace.name) {
                    self.publisher.info_blocks_mut().read(&id, block, Time(self.clock.wall()));
                }
                self.memmap.on_namespace(id);
            }
            let Some(existing) = existing::existing_namespace(assessed) else { continue };
            if self.reported_blocks.insert(&existing) {
                self.emit(Body::ExistingNamespace(Box::new(existing)))?;
            }
        }
        let regressions = self.baseline.observe_scan(self.publisher.store_mut(), &scan, self.clock.wall());
        self.emit_all(regressions)
    }

    /// Finds out the kernel's MAX_STRUCT_PAGE_SIZE, and applies and reports it if it changed.
    fn update_struct_page_size(&mut self) -> Result<(), Fatal> {
        let observed = self.kernel.observed();
        let running = with_capabilities(|| self.sensor.running_kernel(&self.facts.release, observed));
        memory_trim::trim_heap();
        let Some(report) = self.kernel.update(running) else { return Ok(()) };
        self.emit(Body::MaxStructPage(report.clone()))?;
        self.compare_kernel(&report)?;
        let set = self.guard.set_struct_page_size(self.kernel.max_struct_page());
        self.note(DegradedPart::Policy, set);
        self.emit_guard_state()
    }

    /// The code that frees memmaps was read: what was removed meanwhile is reported.
    fn on_memmap_code(&mut self, found: Result<MemmapReturn, String>) -> Result<(), Fatal> {
        let events = self.memmap.on_code(found, &*self.clock);
        // The symbols of the whole kernel were read for it.
        memory_trim::trim_heap();
        events.into_iter().try_for_each(|event| self.emit_event(event))?;
        self.on_memmap_verdict()
    }

    /// Compares with earlier kernels whether this one returns memmaps, if that is certain.
    fn on_memmap_verdict(&mut self) -> Result<(), Fatal> {
        self.assessor.on_memmap_return(self.memmap.status().verdict);
        let Some(returned) = self.memmap.status().verdict.is_returned() else { return Ok(()) };
        let regression = self.baseline.observe_memmap_return(self.publisher.store_mut(), returned);
        self.emit_all(regression)
    }

    /// Compares the running kernel with earlier ones.
    fn compare_kernel(&mut self, report: &MaxStructPageReport) -> Result<(), Fatal> {
        // Without its boot id this boot cannot be distinguished from the others.
        let Some(boot) = boot_row(&self.options.paths, &self.facts, report, self.clock.wall()) else { return Ok(()) };
        let regression = self.baseline.observe_kernel(self.publisher.store_mut(), boot);
        self.emit_all(regression)?;
        let regression = self.baseline.compare_memmap_return(self.publisher.store_mut());
        self.emit_all(regression)
    }

    /// Compares the devices that no namespace owns with what they served under earlier kernels.
    fn compare_devices(&mut self) -> Result<(), Fatal> {
        let since_boot = self.clock.since_boot();
        if !self.baseline.is_device_comparison_due(since_boot) {
            return Ok(());
        }
        // What cannot be read now is compared the next time.
        let Ok(inventory) = self.read_inventory() else { return Ok(()) };
        let devices = scan::devices(inventory, &self.facts);
        let now = self.clock.wall();
        let regressions = self.baseline.observe_devices(self.publisher.store_mut(), &devices, since_boot, now);
        self.emit_all(regressions)
    }

    /// Saves now and then, and at the end, that this kernel still runs.
    fn heartbeat(&mut self, ends: bool) {
        if self.state.is_observing() {
            self.baseline.heartbeat(self.publisher.store_mut(), self.clock.wall(), ends);
        }
    }

    // The guard.

    /// Has the guard judge, now that the inventory is known.
    fn arm(&mut self, inventory: anyhow::Result<&Inventory>) -> Result<(), Fatal> {
        let armed = inventory
            .and_then(|inventory| self.guard.add_inventory(inventory))
            .and_then(|()| self.guard.arm(self.kernel.max_struct_page()));
        if self.note(DegradedPart::Arming, armed).is_none() {
            // What an earlier load has left in the maps must not be judged by.
            self.disarm();
        } else {
            // A guard of another version judges beside this one: a creation may be reported twice, and none slips through.
            let removed = self.sensor.remove_other_versions();
            self.note(DegradedPart::Pins, removed);
        }
        warn_of_skipped_exemptions(&self.guard);
        self.emit_guard_state()
    }

    /// Tests whether the guard's program runs.
    fn self_test(&mut self) -> Result<(), Fatal> {
        if !self.state.is_observing() {
            return Ok(());
        }
        let now = self.clock.wall();
        self.state.set_self_test(with_capabilities(|| self.sensor.self_test(now)));
        self.emit_guard_state()
    }

    /// Reports the guard's state if it changed.
    fn emit_guard_state(&mut self) -> Result<(), Fatal> {
        self.assessor.on_guard_state(self.state.is_armed(&self.guard));
        match self.state.guard_change(&self.guard, self.sensor.pins()) {
            Some(state) => self.emit(Body::GuardState(state)),
            None => Ok(()),
        }
    }

    fn emit_policy(&mut self) -> Result<(), Fatal> {
        self.emit(Body::PolicyLoaded(self.guard.policy_loaded(self.runtime_info.config_files())))
    }

    fn expire_exemptions(&mut self) -> Result<(), Fatal> {
        let (expired, published) = self.guard.expire();
        if published.is_err() {
            self.note(DegradedPart::Policy, published);
        }
        for grant in expired {
            self.emit(Body::ExemptionEnded(self.guard.exemption_change(&grant)))?;
        }
        Ok(())
    }

    /// Why this host cannot enforce with this kernel and its command line.
    fn enforce_obstacle(&self) -> Option<String> {
        // A guard that judges is proof enough.
        self.state.not_judging_reason(&self.guard).and_then(|_| self.sensor.enforce_obstacle())
    }

    /// At the start: ends the agent if the mode is enforce, and this host cannot enforce, or the configuration asks for that whatever
    /// the reason.
    fn require_effective(&self) -> Result<(), Fatal> {
        let Some(reason) = self.state.ineffective_reason(&self.guard) else { return Ok(()) };
        if self.guard.policy().mode != Mode::Enforce {
            return Ok(());
        }
        match self.enforce_obstacle() {
            Some(obstacle) => Err(Fatal::new(ExitContext::unsupported(cannot_enforce(&obstacle)))),
            None if self.options.require_effective => {
                let required = format!("enforcement is not effective, and guard.require_effective is set: {reason}");
                Err(Fatal::new(ExitContext::unsupported(required)))
            }
            None => {
                tracing::warn!("the mode is enforce, and oversize creations are not refused: {reason}");
                Ok(())
            }
        }
    }

    /// Reads the configuration again, and applies it as a whole or not at all.
    fn reload(&mut self) -> Result<(), Fatal> {
        let (file, on_exit) = (self.options.config.path().display().to_string(), self.guard.on_exit());
        match self.load_policy() {
            Ok(loaded) => {
                self.assessor.on_thresholds_changed();
                self.web.reload(loaded.config.web());
                if self.guard.on_exit() != on_exit {
                    // The programs are pinned or not when they are loaded.
                    self.detach()?;
                    self.reconcile()?;
                }
                let mode_source = self.guard.mode_source();
                self.runtime_info.on_reloaded(loaded.hash, loaded.files, mode_source, self.clock.wall());
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
        if policy.mode == Mode::Enforce
            && let Some(obstacle) = self.enforce_obstacle()
        {
            anyhow::bail!(cannot_enforce(&obstacle));
        }
        self.guard.replace(policy)?;
        self.alerts.configure(loaded.config.alerts(), self.publisher.store_mut());
        Ok(loaded)
    }

    // Requests.

    /// Does what is requested over the control socket.
    fn answer(&mut self, request: Request, peer: &Peer) -> Result<Reply, Fatal> {
        match self.try_answer(request, peer) {
            Ok((response, None)) => Ok(Reply(Ok(response))),
            Ok((response, Some(event))) => {
                self.emit(event)?;
                self.emit_guard_state()?;
                Ok(Reply(Ok(response)))
            }
            Err(error) => Ok(Reply(Err(error))),
        }
    }

    /// The response, and the event that reports what was done.
    fn try_answer(&mut self, request: Request, peer: &Peer) -> Result<(Response, Option<Body>), ErrorResponse> {
        if request.changes_guard() {
            self.require_reachable_guard()?;
        }
        let done = match request {
            Request::Mode { mode, reason } => {
                let mode = mode.mode();
                let wanted = mode.unwrap_or(self.guard.configured_mode());
                if wanted == Mode::Enforce
                    && let Some(obstacle) = self.enforce_obstacle()
                {
                    return Err(ErrorResponse::unsupported(cannot_enforce(&obstacle)));
                }
                let now = self.clock.wall();
                let event = control::change_mode(&mut self.guard, &mut self.runtime_info, mode, reason, peer, now)?;
                let ineffective_reason = self.state.ineffective_reason(&self.guard);
                (
                    Response::Mode(ModeResponse { mode: wanted, previous_mode: event.from, ineffective_reason }),
                    Body::ModeChanged(event),
                )
            }
            Request::Allow(allow) => {
                if self.guard.is_unknown_region(allow.subject) {
                    self.update_regions();
                }
                control::allow(&mut self.guard, allow, peer)?
            }
            Request::Revoke { id } => control::revoke(&mut self.guard, id, peer)?,
            Request::AcceptBaseline { scope, reason } => {
                let time = Time(self.clock.wall());
                control::accept_baseline(&mut self.baseline, self.publisher.store_mut(), &scope, reason, peer, time)?
            }
            Request::Release => self.release(peer)?,
            Request::Status if peer.access == Access::ReadOnly => {
                return Ok((Response::Status(Box::new(self.shared_view().view.status.clone())), None));
            }
            Request::Status => return Ok((Response::Status(Box::new(self.snapshot().status())), None)),
            Request::Block { namespace } => {
                return Ok((control::block(self.publisher.info_blocks(), &namespace)?, None));
            }
            Request::InfoBlocks if !self.state.is_observing() => {
                return Err(ErrorResponse::error("the agent does not observe: a block may have been replaced unseen"));
            }
            Request::InfoBlocks => return Ok((control::info_blocks(self.publisher.info_blocks()), None)),
            Request::Alerts => {
                match peer.access {
                    Access::Full => self.evaluate_alerts(),
                    Access::ReadOnly => {
                        let shared = self.shared_view();
                        self.alerts.evaluate(&shared.view, self.publisher.store_mut());
                    }
                }
                return Ok((Response::Alerts(Box::new(self.alerts.status())), None));
            }
        };
        Ok((done.0, Some(done.1)))
    }

    /// Fails if a guard is pinned that this agent cannot change.
    fn require_reachable_guard(&mut self) -> anyhow::Result<()> {
        if self.guard.is_open() || self.sensor.pins().is_empty() {
            return Ok(());
        }
        self.adopt_pinned_guard();
        anyhow::ensure!(
            self.guard.is_open(),
            "nothing was changed: a guard is pinned, and its maps cannot be opened (`pfnwatch guard release` removes it)"
        );
        Ok(())
    }

    /// Removes the pins: the guard then ends with the agent, unless another agent has pinned it again.
    fn release(&mut self, peer: &Peer) -> anyhow::Result<(Response, Body)> {
        let removed = self.sensor.release()?;
        self.state.on_released();
        if !self.state.is_observing() {
            self.guard.close();
        }
        Ok(control::released(&removed, self.guard.policy().mode, self.state.is_guard_present(), peer))
    }

    /// Answers a request over the web.
    fn serve_view(&mut self, request: ViewRequest) -> Result<(), Fatal> {
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
            state: &self.state,
            attach_retry: &self.attach_retry,
            sensor: &*self.sensor,
            clock: &*self.clock,
            losses: &self.losses,
            assessor: &self.assessor,
            reported_blocks: &self.reported_blocks,
            kernel: &self.kernel,
            memmap: &self.memmap,
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

/// What is left of an attachment when its maps are handed on.
struct AttachedParts {
    /// Why the guard's program is not among those that are attached.
    guard_off: Option<String>,
    /// Whether it replaces a guard that ran without an agent.
    taken_over: bool,
}

/// Whoever may not open the socket may not load programs either.
fn without_root(error: anyhow::Error) -> anyhow::Error {
    let denied = |cause: &io::Error| cause.kind() == io::ErrorKind::PermissionDenied;
    if error.root_cause().downcast_ref().is_some_and(denied) {
        return error.context(ExitContext::unsupported("this host cannot be observed without root"));
    }
    error
}
