//! Whether the kernel returns memmaps in DRAM, and what it lost: by its code, and by free memory after removals.

use std::collections::BTreeMap;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{self, Poll};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::memmap_measurement::Measurement;
use crate::analysis::memmap_return::{DeviceIndex, MemoryOwners, not_returned};
use crate::code::memmap_free::MemmapReturn;
use crate::image::memmap_return::{assess, warning};
use crate::model::event::{Body, Event, NamespaceId};
use crate::model::facts::KernelParameters;
use crate::model::kernel::KernelFacts;
use crate::model::memmap_return::{MemmapEvidence, MemmapRemoval, MemmapReturnStatus, MemmapVerdict, MemoryUse};
use crate::os::clock::Clock;
use crate::os::paths::Paths;

/// What reads the kernel's code, in a thread of its own.
pub type CodeReading = oneshot::Receiver<Result<MemmapReturn, String>>;

/// What [`MemmapWatch::poll_next`] waits for.
pub(super) enum MemmapWork {
    Code(Result<MemmapReturn, String>),
    Settled(io::Result<()>),
}

pub(super) struct MemmapWatch {
    release: String,
    host: KernelParameters,
    owners: MemoryOwners,
    reading: Option<CodeReading>,
    status: MemmapReturnStatus,
    /// Removals before the verdict, which takes less than a second.
    waiting: Vec<MemmapRemoval>,
    measurement: Measurement,
}

impl MemmapWatch {
    pub(super) fn new(facts: &KernelFacts) -> Self {
        Self {
            release: facts.release.clone(),
            host: KernelParameters::from(facts),
            owners: MemoryOwners::default(),
            reading: None,
            status: MemmapReturnStatus::default(),
            waiting: Vec::new(),
            measurement: Measurement::default(),
        }
    }

    pub(super) const fn status(&self) -> &MemmapReturnStatus {
        &self.status
    }

    /// A namespace that exists.
    pub(super) fn on_namespace(&mut self, namespace: NamespaceId) {
        self.owners.namespaces.insert(namespace);
    }

    /// The devices that there are.
    pub(super) fn on_devices(&mut self, devices: DeviceIndex) {
        self.owners.devices = devices;
    }

    /// The namespace with this uuid, if it is known where it is.
    pub(super) fn namespace(&self, uuid: Uuid) -> Option<&NamespaceId> {
        self.owners.namespaces.with_uuid(uuid)
    }

    /// What earlier agents have seen lost since boot, in bytes.
    pub(super) fn restore(&mut self, lost_bytes: BTreeMap<MemmapEvidence, u64>) {
        self.status.lost_bytes = lost_bytes;
    }

    // The verdict.

    pub(super) const fn is_unread(&self) -> bool {
        matches!(self.status.verdict, MemmapVerdict::Unknown) && self.reading.is_none() && self.status.problem.is_none()
    }

    pub(super) fn read(&mut self, reading: CodeReading) {
        self.reading = Some(reading);
    }

    /// Waits until the kernel's code has been read, or memory has settled. Cancellation-safe.
    pub(super) fn poll_next(&mut self, context: &mut task::Context<'_>) -> Poll<MemmapWork> {
        if let Some(reading) = &mut self.reading
            && let Poll::Ready(found) = Pin::new(reading).poll(context)
        {
            self.reading = None;
            let found = found.unwrap_or_else(|_| Err("no thread could be started to read the code".to_owned()));
            return Poll::Ready(MemmapWork::Code(found));
        }
        self.measurement.poll_settled(context).map(MemmapWork::Settled)
    }

    /// The code was read: returns the events of what was removed meanwhile.
    pub(super) fn on_code(&mut self, found: Result<MemmapReturn, String>, clock: &dyn Clock) -> Vec<Event> {
        (self.status.verdict, self.status.evidence) =
            assess(&found, self.host.memmap_return == MemmapVerdict::Suspected);
        self.status.problem = found.err();
        if let Some(warning) = warning(self.status.verdict) {
            tracing::warn!("{warning}");
        }
        if let Some(evidence) = self.loss_evidence() {
            self.status.lost_bytes.entry(evidence).or_default();
            // The first that later removals are compared with.
            self.measurement.disturb(clock);
        }
        std::mem::take(&mut self.waiting).into_iter().filter_map(|it| self.on_removal(it, clock)).collect()
    }

    /// What shows that memmaps are lost; `None` if they are not, or if nothing shows it.
    fn loss_evidence(&self) -> Option<MemmapEvidence> {
        let loses = matches!(self.status.verdict, MemmapVerdict::NotReturned | MemmapVerdict::Suspected);
        self.status.evidence.filter(|_| loses)
    }

    // Removals.

    /// The event of a removal, if something is lost.
    pub(super) fn on_removal(&mut self, removal: MemmapRemoval, clock: &dyn Clock) -> Option<Event> {
        if self.reading.is_some() {
            self.waiting.push(removal);
            return None;
        }
        let evidence = self.loss_evidence()?;
        let Some(lost) = not_returned(&removal, &self.owners, &self.host, evidence, &self.release) else {
            self.disturb(clock);
            return None;
        };
        let total = self.status.lost_bytes.entry(evidence).or_default();
        *total = total.saturating_add(lost.lost_bytes);
        if lost.at_most {
            self.disturb(clock);
        } else if self.measures() {
            self.measurement.add(lost.removed_bytes, lost.lost_bytes, clock);
        }
        Some(Event::at(removal.time, Body::MemmapNotReturned(Box::new(lost))))
    }

    /// Learns where namespaces are; a memmap that is made takes memory.
    pub(super) fn follow(&mut self, event: &Event, clock: &dyn Clock) {
        self.owners.namespaces.follow(event);
        if matches!(event.body, Body::SetUp(_) | Body::Probe(_)) {
            self.disturb(clock);
        }
    }

    // The measurement: it can only confirm what the code or the release shows.

    fn measures(&self) -> bool {
        self.loss_evidence().is_some_and(|evidence| evidence != MemmapEvidence::Observed)
    }

    fn disturb(&mut self, clock: &dyn Clock) {
        if self.measures() {
            self.measurement.disturb(clock);
        }
    }

    /// Returns whether the loss is confirmed.
    pub(super) fn on_settled(&mut self, paths: &Paths) -> bool {
        let confirmed = self.measurement.on_settled(MemoryUse::read(paths, self.host.page_size));
        if confirmed {
            (self.status.verdict, self.status.evidence) = (MemmapVerdict::NotReturned, Some(MemmapEvidence::Observed));
            self.measurement = Measurement::default();
        }
        confirmed
    }

    pub(super) fn on_tick(&mut self, paths: &Paths) {
        if self.measures() {
            self.measurement.refresh(|| MemoryUse::read(paths, self.host.page_size));
        }
    }
}
