//! The way of a record to an event with its verdict.

use std::time::SystemTime;

use uuid::Uuid;

use crate::{
    analysis::{event_assessment, label_tracker::LabelTracker, prediction_check::PredictionTracker},
    bpf::decode::{self, decode},
    model::{
        event::{Body, DecodeFailure, Event, Time},
        facts::KernelParameters,
        kernel::KernelFacts,
        thresholds::Thresholds,
    },
    os::clock::since_boot,
};

/// Decodes records and assesses the events, by what earlier ones have shown.
pub(super) struct RecordAssessor {
    page_size: u64,
    struct_page_size: Option<u64>,
    host: KernelParameters,
    labels: LabelTracker,
    predictions: PredictionTracker,
}

impl RecordAssessor {
    pub(super) fn new(facts: &KernelFacts) -> Self {
        Self {
            page_size: facts.page_size,
            struct_page_size: facts.struct_page_size,
            host: KernelParameters::from(facts),
            labels: LabelTracker::default(),
            predictions: PredictionTracker::default(),
        }
    }

    /// The programs are attached; these namespaces exist.
    pub(super) fn on_attached(&mut self, namespaces: impl IntoIterator<Item = Uuid>) {
        self.labels.restart(namespaces, Time(SystemTime::now()));
    }

    /// How many labels and predictions were evicted because there were too many.
    pub(super) const fn evicted(&self) -> (u64, u64) {
        (self.labels.evicted(), self.predictions.evicted())
    }

    /// The guard is armed from now on, or not.
    ///
    /// # Errors
    /// The clock cannot be read.
    pub(super) fn on_guard_state(&mut self, is_armed: bool) -> anyhow::Result<()> {
        self.predictions.attached(is_armed, since_boot()?);
        Ok(())
    }

    /// Other thresholds are in force.
    ///
    /// # Errors
    /// The clock cannot be read.
    pub(super) fn on_thresholds_changed(&mut self) -> anyhow::Result<()> {
        self.predictions.on_thresholds_changed(since_boot()?);
        Ok(())
    }

    /// What decoding needs, for one batch of records.
    ///
    /// # Errors
    /// The clock cannot be read.
    pub(super) fn context(&self) -> anyhow::Result<decode::Context> {
        let (since_boot, now) = (since_boot()?, SystemTime::now());
        Ok(decode::Context {
            booted: now.checked_sub(since_boot).unwrap_or(now),
            page_size: self.page_size,
            struct_page_size: self.struct_page_size,
        })
    }

    /// The event of a record, with its verdict; a record that cannot be decoded is one as well.
    pub(super) fn assess(&mut self, record: &[u8], context: &decode::Context, thresholds: &Thresholds) -> Event {
        let event = decode(record, context).unwrap_or_else(|error| {
            let length_bytes = u64::try_from(record.len()).unwrap_or(u64::MAX);
            Event::now(Body::DecodeError(DecodeFailure { length_bytes, reason: error.to_string() }))
        });
        let mut event = self.labels.follow(event);
        event_assessment::judge(&mut event, &self.host, thresholds);
        self.predictions.follow(&mut event, context.booted);
        event
    }
}
