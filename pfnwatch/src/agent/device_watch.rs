//! The devices that no namespace owns, and what becomes of them: the kernel's messages show that something happened, the next reading
//! of sysfs shows what. Nothing here waits for sysfs: a thread reads it.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::oneshot;

use crate::analysis::device_changes::{differences, inferred_removals, with_last_known};
use crate::analysis::memmap::device::of_device;
use crate::analysis::memmap_return::DeviceIndex;
use crate::model::device::{AddressRange, AssessedDevice, MemoryDevice};
use crate::model::event::{Actor, Body, MemoryLeftOnline, NamespaceId, Time};
use crate::model::facts::KernelParameters;
use crate::model::memmap_return::MemmapRemoval;
use crate::os::clock::{Clock, Interval};
use crate::sysfs::device_messages::DeviceMessages;
use crate::sysfs::inventory::SysfsRoots;
use crate::sysfs::inventory::device::DeviceReading;

/// Messages that come within this time of one another are one change: a device of 1 TiB has thousands of memory blocks.
const DEBOUNCE: Duration = Duration::from_millis(250);
/// So often that is waited for at most, while messages keep coming.
const MAX_ROUNDS: u32 = 8;

/// What [`DeviceWatch::poll_next`] waits for.
pub(super) enum DeviceWork {
    Read(anyhow::Result<DeviceReading>),
    /// The kernel's messages cannot be read any more.
    MessagesFailed(io::Error),
}

/// What changed since the last reading.
#[derive(Default)]
pub(super) struct DeviceNews {
    pub(super) events: Vec<Body>,
    /// What was removed, if no probe sees that.
    pub(super) removals: Vec<MemmapRemoval>,
    pub(super) index: DeviceIndex,
}

pub(super) struct DeviceWatch {
    roots: SysfsRoots,
    host: KernelParameters,
    clock: Rc<dyn Clock>,
    /// `None` if they cannot be read: then each tick of the agent looks.
    messages: Option<Box<dyn DeviceMessages>>,
    known: Vec<AssessedDevice>,
    /// Namespaces that were destroyed since the last reading began, and by whom.
    destroyed: Vec<(NamespaceId, Option<Actor>)>,
    /// Those whose memory blocks are being read.
    asked: Vec<(NamespaceId, Option<Actor>)>,
    phase: Phase,
}

enum Phase {
    Idle,
    /// More messages may follow.
    Debouncing {
        timer: Box<dyn Interval>,
        rounds: u32,
    },
    Reading(oneshot::Receiver<anyhow::Result<DeviceReading>>),
}

impl DeviceWatch {
    pub(super) fn new(roots: SysfsRoots, host: KernelParameters, clock: Rc<dyn Clock>) -> Self {
        Self {
            roots,
            host,
            clock,
            messages: None,
            known: Vec::new(),
            destroyed: Vec::new(),
            asked: Vec::new(),
            phase: Phase::Idle,
        }
    }

    pub(super) const fn hears_messages(&self) -> bool {
        self.messages.is_some()
    }

    pub(super) fn hear(&mut self, messages: Box<dyn DeviceMessages>) {
        self.messages = Some(messages);
    }

    /// The devices that are there when the agent starts: they are no news.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn begin(&mut self) -> anyhow::Result<DeviceIndex> {
        let reading = DeviceReading::read(&self.roots, Vec::new())?;
        Ok(self.compare(reading).index)
    }

    /// Looks whether memory of a namespace that was destroyed is still online.
    pub(super) fn on_destroyed(&mut self, namespace: NamespaceId, by: Option<Actor>) {
        self.destroyed.push((namespace, by));
        if matches!(self.phase, Phase::Idle) {
            self.debounce();
        }
    }

    /// Finds what no message has shown: in a foreign network namespace, and where a device is that messages are not filtered for.
    pub(super) fn on_tick(&mut self) {
        let is_idle = matches!(self.phase, Phase::Idle);
        if is_idle && (!self.known.is_empty() || DeviceReading::has_devices(&self.roots)) {
            self.read();
        }
    }

    /// Waits for the next result. Cancellation-safe.
    pub(super) fn poll_next(&mut self, context: &mut task::Context<'_>) -> Poll<DeviceWork> {
        loop {
            match &mut self.phase {
                Phase::Idle => {
                    let Some(messages) = &mut self.messages else { return Poll::Pending };
                    match task::ready!(messages.poll_next(context)) {
                        Ok(()) => self.debounce(),
                        Err(error) => {
                            self.messages = None;
                            return Poll::Ready(DeviceWork::MessagesFailed(error));
                        }
                    }
                }
                // Meanwhile no message wakes the agent.
                Phase::Debouncing { timer, rounds } => {
                    let ticked = task::ready!(timer.poll_tick(context));
                    let more = self.messages.as_mut().is_some_and(|messages| messages.discard());
                    if more && *rounds > 0 && ticked.is_ok() {
                        *rounds -= 1;
                    } else {
                        self.read();
                    }
                }
                Phase::Reading(reading) => {
                    let found = task::ready!(Pin::new(reading).poll(context));
                    self.phase = Phase::Idle;
                    let found = found.context("no thread could be started to read the devices").flatten();
                    if found.is_err() {
                        // While nothing can be read, they must not pile up.
                        self.asked.clear();
                    }
                    return Poll::Ready(DeviceWork::Read(found));
                }
            }
        }
    }

    fn debounce(&mut self) {
        match self.clock.every(DEBOUNCE) {
            Ok(timer) => self.phase = Phase::Debouncing { timer, rounds: MAX_ROUNDS },
            Err(_) => self.read(),
        }
    }

    fn read(&mut self) {
        self.asked.append(&mut self.destroyed);
        let range = |(it, _): &(NamespaceId, _)| AddressRange { start: it.start_address, size: it.size_bytes };
        let known = self.known.iter().flat_map(|it| it.device.ranges.iter().flatten().copied());
        let (roots, ranges) = (self.roots.clone(), known.chain(self.asked.iter().map(range)).collect());
        let (sender, reading) = oneshot::channel();
        // Without a thread the sender is gone, which is the answer.
        let _ = thread::Builder::new().spawn(move || sender.send(DeviceReading::read(&roots, ranges)));
        self.phase = Phase::Reading(reading);
    }

    /// What a reading shows.
    pub(super) fn on_read(&mut self, reading: DeviceReading) -> DeviceNews {
        let left = |(namespace, by): (NamespaceId, Option<Actor>)| {
            let online = reading.blocks.get(&namespace.start_address).map_or(0, |blocks| blocks.online);
            let left = MemoryLeftOnline { namespace, left_online_bytes: online, by };
            (online > 0).then(|| Body::MemoryLeftOnline(Box::new(left)))
        };
        let left: Vec<_> = std::mem::take(&mut self.asked).into_iter().filter_map(left).collect();
        let mut news = self.compare(reading);
        news.events.extend(left);
        if !self.destroyed.is_empty() {
            self.debounce();
        }
        news
    }

    fn compare(&mut self, reading: DeviceReading) -> DeviceNews {
        let DeviceReading { devices, hotplug, blocks } = reading;
        let assess = |device: MemoryDevice| {
            let memory = of_device(&device, &hotplug, &self.host);
            AssessedDevice { device, memory }
        };
        let now = with_last_known(&self.known, devices.into_iter().map(assess).collect());
        let time = Time(self.clock.wall());
        let news = DeviceNews {
            events: differences(&self.known, &now, &blocks),
            removals: inferred_removals(&self.known, &now, &blocks, self.host.page_size, time),
            index: DeviceIndex::of(&now, &hotplug, &self.host),
        };
        self.known = now;
        news
    }
}
