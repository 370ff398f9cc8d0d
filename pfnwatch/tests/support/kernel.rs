//! A scripted kernel and a scripted clock for the real agent: in unit tests of its loop, and behind the control socket of the
//! commands' tests.
#![allow(dead_code, unreachable_pub, reason = "included by several programs, each of which uses a part of it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{anyhow, ensure};
use bytes::Bytes;
use pfnwatch::agent::memmap_watch::CodeReading;
use pfnwatch::agent::sensor::{Attachment, Observed, Sensor};
use pfnwatch::bpf::counters::CounterTotals;
use pfnwatch::bpf::guard::GuardTables;
use pfnwatch::bpf::takeover::OnExit;
use pfnwatch::code::max_struct_page::MaxStructPage;
use pfnwatch::code::memmap_free::MemmapReturn;
use pfnwatch::guard::SelfTest;
use pfnwatch::image::max_struct_page::RunningKernel;
use pfnwatch::kernel::max_struct_page::{Evidence, Source, resolve};
use pfnwatch::model::event::ProgramState;
use pfnwatch::model::exit::ExitContext;
use pfnwatch::model::inventory::{InfoBlocks, Inventory};
use pfnwatch::model::view::ProgramRuns;
use pfnwatch::os::clock::{Clock, Interval};
use pfnwatch::sysfs::device_messages::DeviceMessages;
use pfnwatch::sysfs::module_watch::ModuleChange;
use pfnwatch_common::counter::Counter;
use pfnwatch_common::guard::{KnownBlock, NamespacePlace, REGION_EPOCH_SLOTS};
use pfnwatch_common::policy::{Mode, Snapshot};
use pfnwatch_common::superblock;
use tokio::sync::oneshot;

/// When the scripted clock starts: 2026-01-02T03:04:05Z.
const START: Duration = Duration::from_secs(1_767_323_045);

/// The kernel, shared by the test and by the agent's sensor.
/// Of how many namespaces the guard can know something.
pub const KNOWN_CAPACITY: usize = 16;

#[derive(Clone, Default)]
pub struct FakeKernel(Arc<Mutex<State>>);

/// What the test sets, and what the agent has done.
#[derive(Default)]
pub struct State {
    pub is_module_loaded: bool,
    pub probes_disabled: Option<String>,
    pub enforce_obstacle: Option<String>,
    /// Why an attachment fails.
    pub attach_error: Option<String>,
    /// Whether it fails only until something else is gone.
    pub attach_error_passes: bool,
    /// How often an attachment has failed.
    pub failed_attachments: u64,
    /// Why the guard's maps cannot be used.
    pub maps_error: Option<String>,
    /// Why the kernel rejects a policy.
    pub publish_error: Option<String>,
    pub counters_error: Option<String>,
    pub self_test_error: Option<String>,
    pub max_struct_page: Option<u64>,
    /// What the code that frees memmaps shows, or why it does not; `None` until the test answers `code_reader`.
    pub memmap_return: Option<Result<MemmapReturn, String>>,
    pub code_reader: Option<oneshot::Sender<Result<MemmapReturn, String>>>,
    pub counters: CounterTotals,
    pub programs: Vec<ProgramState>,
    pub runs: Vec<ProgramRuns>,
    /// The info blocks of enabled namespaces, by the namespaces' names.
    pub info_blocks: BTreeMap<String, [u8; superblock::SIZE]>,
    pub maps: Maps,
    /// Of each snapshot that was published: whether the guard judges by it.
    pub published_armed: Vec<bool>,
    pub is_attached: bool,
    /// Whether the guard is pinned.
    pub is_pinned: bool,
    pub attachments: u64,
    pub inbox: VecDeque<Message>,
    /// Messages about devices that the agent has not received.
    pub device_messages: u64,
    /// Why they cannot be listened to.
    pub device_messages_error: Option<String>,
    waker: Option<Waker>,
    device_waker: Option<Waker>,
}

pub enum Message {
    Module(io::Result<ModuleChange>),
    Record(Bytes),
}

/// The guard's maps.
#[derive(Clone)]
pub struct Maps {
    pub number: u64,
    pub snapshot: Snapshot,
    pub module_epoch: u64,
    pub region_epochs: Vec<u64>,
    pub blocks: BTreeMap<NamespacePlace, KnownBlock>,
    pub tickets: BTreeSet<u64>,
}

impl Default for Maps {
    fn default() -> Self {
        Self {
            number: 0,
            snapshot: Snapshot::EMPTY,
            module_epoch: 0,
            region_epochs: vec![0; REGION_EPOCH_SLOTS as usize],
            blocks: BTreeMap::new(),
            tickets: BTreeSet::new(),
        }
    }
}

impl FakeKernel {
    /// With libnvdimm, and a known MAX_STRUCT_PAGE_SIZE.
    pub fn sound() -> Self {
        let kernel = Self::default();
        kernel.set(|state| (state.is_module_loaded, state.max_struct_page) = (true, Some(64)));
        kernel
    }

    pub fn get(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn set<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.get())
    }

    pub fn send(&self, message: Message) {
        let mut state = self.get();
        state.inbox.push_back(message);
        state.waker.take().into_iter().for_each(Waker::wake);
    }

    /// The kernel sends so many messages about devices.
    pub fn send_device_messages(&self, count: u64) {
        let mut state = self.get();
        state.device_messages += count;
        state.device_waker.take().into_iter().for_each(Waker::wake);
    }

    /// libnvdimm is loaded or unloaded, and the kernel reports it.
    pub fn load_module(&self, is_loaded: bool) {
        self.set(|state| {
            state.is_module_loaded = is_loaded;
            state.maps.module_epoch += 1;
        });
        self.send(Message::Module(Ok(if is_loaded { ModuleChange::Added } else { ModuleChange::Removed })));
    }

    /// Whether the guard's program would refuse an oversize creation now (pfnwatch-ebpf/src/guard/assess.rs).
    pub fn refuses(&self) -> bool {
        let state = self.get();
        let Maps { number, snapshot, module_epoch, .. } = &state.maps;
        (state.is_attached || state.is_pinned)
            && *number != 0
            && snapshot.armed != 0
            && snapshot.module_epoch == *module_epoch
            && snapshot.max_struct_page != 0
            && snapshot.mode == Mode::Enforce as u32
    }

    pub fn sensor(&self) -> Box<dyn Sensor> {
        Box::new(self.clone())
    }
}

fn fails(error: &Option<String>) -> anyhow::Result<()> {
    error.as_ref().map_or(Ok(()), |error| Err(anyhow!("{error}")))
}

impl Sensor for FakeKernel {
    fn is_module_loaded(&self) -> bool {
        self.get().is_module_loaded
    }

    fn probes_disabled_reason(&self) -> Option<String> {
        self.get().probes_disabled.clone()
    }

    fn enforce_obstacle(&self) -> Option<String> {
        self.get().enforce_obstacle.clone()
    }

    fn attach(&mut self, stay: OnExit) -> anyhow::Result<Attachment> {
        let mut state = self.get();
        if let Some(error) = &state.attach_error {
            let error = anyhow!("{error}");
            let passes = state.attach_error_passes;
            state.failed_attachments += 1;
            return Err(if passes { error } else { error.context(ExitContext::unsupported("not on this host")) });
        }
        let shared = state.is_pinned;
        if !shared {
            let Maps { module_epoch, region_epochs, .. } = state.maps.clone();
            state.maps = Maps { module_epoch, region_epochs, ..Maps::default() };
        }
        state.is_attached = true;
        state.is_pinned = stay == OnExit::Pinned;
        state.attachments += 1;
        let guard = Box::new(self.clone());
        Ok(Attachment { guard, guard_off: None, shared, taken_over: shared })
    }

    fn detach(&mut self) {
        self.get().is_attached = false;
    }

    fn is_attached(&self) -> bool {
        self.get().is_attached
    }

    fn open_pinned_guard(&mut self) -> anyhow::Result<Option<Box<dyn GuardTables>>> {
        let state = self.get();
        if !state.is_pinned {
            return Ok(None);
        }
        fails(&state.maps_error)?;
        Ok(Some(Box::new(self.clone())))
    }

    fn poll_next(&mut self, context: &mut Context<'_>, batch: &mut Vec<Bytes>) -> Poll<Observed> {
        let mut state = self.get();
        state.waker = Some(context.waker().clone());
        match state.inbox.pop_front() {
            None => Poll::Pending,
            Some(Message::Module(change)) => Poll::Ready(Observed::Module(change)),
            Some(Message::Record(record)) => {
                batch.push(record);
                Poll::Ready(Observed::Records(Ok(())))
            }
        }
    }

    fn drain(&mut self, batch: &mut Vec<Bytes>) -> bool {
        let mut state = self.get();
        let (records, others) = std::mem::take(&mut state.inbox)
            .into_iter()
            .partition::<VecDeque<_>, _>(|message| matches!(message, Message::Record(_)));
        state.inbox = others;
        batch.extend(records.into_iter().filter_map(|message| match message {
            Message::Record(record) => Some(record),
            Message::Module(_) => None,
        }));
        !batch.is_empty()
    }

    fn repair(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn counters(&self) -> anyhow::Result<Option<CounterTotals>> {
        let state = self.get();
        fails(&state.counters_error)?;
        Ok((state.is_attached || state.is_pinned || state.attachments > 0).then_some(state.counters))
    }

    fn sweep(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn programs(&self) -> Vec<ProgramState> {
        let state = self.get();
        if state.is_attached { state.programs.clone() } else { Vec::new() }
    }

    fn program_runs(&self) -> Vec<ProgramRuns> {
        self.get().runs.clone()
    }

    fn self_test(&self, at: SystemTime) -> anyhow::Result<SelfTest> {
        fails(&self.get().self_test_error)?;
        Ok(SelfTest { at, how: "the guard ran when a cgroup was made".to_owned() })
    }

    fn pins(&self) -> Vec<String> {
        if self.get().is_pinned { vec!["/sys/fs/bpf/pfnwatch/guard".to_owned()] } else { Vec::new() }
    }

    fn release(&self) -> anyhow::Result<Vec<PathBuf>> {
        let released = self.pins().into_iter().map(PathBuf::from).collect();
        self.get().is_pinned = false;
        Ok(released)
    }

    fn remove_other_versions(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn info_blocks(&self, _: &Inventory) -> (InfoBlocks, Option<String>) {
        let mut blocks = InfoBlocks::default();
        self.get().info_blocks.iter().for_each(|(namespace, block)| blocks.insert(namespace, *block));
        (blocks, None)
    }

    fn running_kernel(&self, _: &str, mut observed: Vec<Evidence>) -> RunningKernel {
        observed.extend(self.get().max_struct_page.map(|bytes| Evidence {
            max: MaxStructPage { bytes, overridden_bytes: None },
            source: Source::ObservedBlock { namespace: "namespace0.0".to_owned() },
        }));
        RunningKernel { resolved: resolve(observed), override_set: None, allows_empty: None, problems: Vec::new() }
    }

    fn device_messages(&self) -> anyhow::Result<Box<dyn DeviceMessages>> {
        fails(&self.get().device_messages_error)?;
        Ok(Box::new(self.clone()))
    }

    fn read_memmap_code(&self) -> CodeReading {
        let (sender, reading) = oneshot::channel();
        let mut state = self.get();
        match &state.memmap_return {
            Some(found) => sender.send(found.clone()).unwrap_or_default(),
            None => state.code_reader = Some(sender),
        }
        reading
    }
}

impl DeviceMessages for FakeKernel {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.get();
        state.device_waker = Some(context.waker().clone());
        match state.device_messages {
            _ if state.device_messages_error.is_some() => Poll::Ready(Err(io::Error::other("broken"))),
            0 => Poll::Pending,
            _ => {
                state.device_messages -= 1;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn discard(&mut self) -> bool {
        std::mem::take(&mut self.get().device_messages) > 0
    }
}

impl GuardTables for FakeKernel {
    fn module_epoch(&self) -> anyhow::Result<u64> {
        let state = self.get();
        fails(&state.maps_error)?;
        Ok(state.maps.module_epoch)
    }

    fn region_epochs(&self) -> anyhow::Result<Vec<u64>> {
        Ok(self.get().maps.region_epochs.clone())
    }

    fn number(&self) -> anyhow::Result<u64> {
        Ok(self.get().maps.number)
    }

    fn publish(&mut self, snapshot: &Snapshot) -> anyhow::Result<u64> {
        let mut state = self.get();
        fails(&state.publish_error)?;
        state.maps.snapshot = *snapshot;
        state.published_armed.push(snapshot.armed != 0);
        state.maps.number += 1;
        Ok(state.maps.number)
    }

    fn add_known_block(&mut self, place: NamespacePlace, block: KnownBlock) -> anyhow::Result<bool> {
        self.get().maps.blocks.entry(place).or_insert(block);
        Ok(true)
    }

    fn known_capacity(&self) -> usize {
        KNOWN_CAPACITY
    }

    fn known_blocks(&self) -> BTreeMap<NamespacePlace, KnownBlock> {
        self.get().maps.blocks.clone()
    }

    fn forget(&mut self, places: Vec<NamespacePlace>) {
        let blocks = &mut self.get().maps.blocks;
        blocks.retain(|place, _| !places.contains(place));
    }

    fn create_ticket(&mut self, id: u64) -> anyhow::Result<()> {
        ensure!(self.get().maps.tickets.insert(id), "there is a ticket {id} already");
        Ok(())
    }

    fn remove_ticket(&mut self, id: u64) -> bool {
        self.get().maps.tickets.remove(&id)
    }

    fn is_unspent(&self, id: u64) -> bool {
        self.get().maps.tickets.contains(&id)
    }

    fn snapshot(&self) -> anyhow::Result<Snapshot> {
        Ok(self.get().maps.snapshot)
    }
}

/// Counters with one of them set.
pub fn counters(counter: Counter, total: u64) -> CounterTotals {
    let mut counters = CounterTotals::default();
    counters.set(counter, total);
    counters
}

/// Time that passes only if the test has it pass.
#[derive(Clone, Default)]
pub struct FakeClock(Arc<Mutex<Time>>);

#[derive(Default)]
struct Time {
    passed: Duration,
    wakers: Vec<Waker>,
}

/// Since boot, when the scripted clock starts.
const UPTIME: Duration = Duration::from_secs(1000);

impl FakeClock {
    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn advance(&self, by: Duration) {
        let mut time = self.time();
        time.passed += by;
        time.wakers.drain(..).for_each(Waker::wake);
    }
}

impl Clock for FakeClock {
    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + START + self.time().passed
    }

    fn since_boot(&self) -> Duration {
        UPTIME + self.time().passed
    }

    fn every(&self, period: Duration) -> io::Result<Box<dyn Interval>> {
        Ok(Box::new(FakeInterval { clock: self.clone(), period, next: self.time().passed + period }))
    }
}

struct FakeInterval {
    clock: FakeClock,
    period: Duration,
    next: Duration,
}

impl Interval for FakeInterval {
    fn poll_tick(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut time = self.clock.time();
        if time.passed < self.next {
            time.wakers.push(context.waker().clone());
            return Poll::Pending;
        }
        self.next = time.passed + self.period;
        Poll::Ready(Ok(()))
    }
}
