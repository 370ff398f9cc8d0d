//! The way of a record to an event with its verdict.

use std::rc::Rc;

use uuid::Uuid;

use crate::analysis::event_assessment;
use crate::analysis::label_tracker::{LabelTracker, News};
use crate::analysis::prediction_check::PredictionTracker;
use crate::bpf::decode::{self, decode};
use crate::model::event::{Body, DecodeFailure, Event, Time};
use crate::model::facts::KernelParameters;
use crate::model::kernel::KernelFacts;
use crate::model::memmap_return::MemmapVerdict;
use crate::model::thresholds::Thresholds;
use crate::os::clock::Clock;

/// Decodes records and assesses the events, by what earlier ones have shown.
pub(super) struct RecordAssessor {
    page_size: u64,
    struct_page_size: Option<u64>,
    host: KernelParameters,
    labels: LabelTracker,
    predictions: PredictionTracker,
    clock: Rc<dyn Clock>,
}

impl RecordAssessor {
    pub(super) fn new(facts: &KernelFacts, clock: Rc<dyn Clock>) -> Self {
        Self {
            page_size: facts.page_size,
            struct_page_size: facts.struct_page_size,
            host: KernelParameters::from(facts),
            labels: LabelTracker::default(),
            predictions: PredictionTracker::default(),
            clock,
        }
    }

    /// The programs are attached; these namespaces exist.
    pub(super) fn on_attached(&mut self, namespaces: impl IntoIterator<Item = Uuid>) {
        self.labels.restart(namespaces, Time(self.clock.wall()));
    }

    /// How many labels and predictions were evicted because there were too many.
    pub(super) const fn evicted(&self) -> (u64, u64) {
        (self.labels.evicted(), self.predictions.evicted())
    }

    /// Whether the kernel returns memmaps in DRAM is known now.
    pub(super) const fn on_memmap_return(&mut self, verdict: MemmapVerdict) {
        self.host.memmap_return = verdict;
    }

    /// The guard is armed from now on, or not.
    pub(super) fn on_guard_state(&mut self, is_armed: bool) {
        self.predictions.attached(is_armed, self.clock.since_boot());
    }

    /// Other thresholds are in force.
    pub(super) fn on_thresholds_changed(&mut self) {
        self.predictions.on_thresholds_changed(self.clock.since_boot());
    }

    /// What decoding needs, for one batch of records.
    pub(super) fn context(&self) -> decode::Context {
        let now = self.clock.wall();
        decode::Context {
            booted: now.checked_sub(self.clock.since_boot()).unwrap_or(now),
            page_size: self.page_size,
            struct_page_size: self.struct_page_size,
        }
    }

    /// The event of a record, with its verdict, and whether it is to be reported; a record that cannot be decoded is one as well.
    pub(super) fn assess(
        &mut self,
        record: &[u8],
        context: &decode::Context,
        thresholds: &Thresholds,
    ) -> (Event, News) {
        let event = decode(record, context).unwrap_or_else(|error| {
            let length_bytes = u64::try_from(record.len()).unwrap_or(u64::MAX);
            let failure = DecodeFailure { length_bytes, reason: error.to_string() };
            Event::at(Time(self.clock.wall()), Body::DecodeError(failure))
        });
        let (mut event, news) = self.labels.follow(event);
        event_assessment::judge(&mut event, &self.host, thresholds);
        self.predictions.follow(&mut event, context.booted);
        (event, news)
    }
}
