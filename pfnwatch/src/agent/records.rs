//! The way of a record to a line.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::time::Instant;

use super::Agent;
use crate::{
    analysis::event_assessment,
    bpf::decode::{self, decode},
    model::{
        event::{Body, DecodeFailure, Event},
        facts::KernelParameters,
        inventory::Inventory,
    },
    os::{clock::since_boot, memory_trim, privileges::with_capabilities},
    sysfs::inventory::SysfsRoots,
};

/// How often the counters are looked at while records come.
const LOSS_REPORT_INTERVAL: Duration = Duration::from_secs(1);

impl<W: Write> Agent<W> {
    pub(super) fn process_records(&mut self, batch: &mut Vec<Bytes>) -> anyhow::Result<()> {
        let (context, host) = (self.context()?, KernelParameters::from(&self.facts));
        for record in batch.drain(..) {
            self.record_totals.received += 1;
            let event = decode(&record, &context).unwrap_or_else(|error| {
                self.record_totals.decode_errors += 1;
                let length_bytes = u64::try_from(record.len()).unwrap_or(u64::MAX);
                Event::now(Body::DecodeError(DecodeFailure { length_bytes, reason: error.to_string() }))
            });
            let mut event = self.label_tracker.follow(event);
            event_assessment::judge(&mut event, &host, &self.guard.policy().thresholds);
            let news = self.kernel.observe(&event);
            self.predictions.follow(&mut event, context.booted);
            self.info_blocks.follow(&mut event);
            self.annotate(&mut event);
            self.emit(event.clone())?;
            self.apply_to_guard(&event)?;
            self.discover_region(&event);
            self.compare(&event)?;
            if news {
                // Before what takes longer: symbols and code are read.
                self.publish()?;
                self.update_struct_page_size()?;
            }
        }
        Ok(())
    }

    /// libnvdimm that is loaded may find a region after the look at what is there: a namespace of it shows that.
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

    /// Takes note of regions that libnvdimm has found since the look at what is there.
    pub(super) fn update_regions(&mut self) {
        let read = Inventory::read(&SysfsRoots::from(&self.options.paths));
        if let Err(error) = read.and_then(|inventory| self.guard.update_regions(&inventory)) {
            tracing::warn!("{error:#}: an exemption of a region that came late does not count yet");
        }
    }

    /// Says what the running kernel reserves for each page, where that is news.
    pub(super) fn update_struct_page_size(&mut self) -> anyhow::Result<()> {
        let known = with_capabilities(|| self.kernel.update(&self.options.paths, &self.facts.release));
        memory_trim::trim_heap();
        let Some(known) = known else { return Ok(()) };
        self.emit(Event::now(Body::MaxStructPage(known.clone())))?;
        self.compare_kernel(&known)?;
        self.update_guard()
    }

    /// The same, but not again and again while a burst goes on: a look-up in a map holds this CPU's probes off (they are
    /// skipped where a task that is probed comes in between, `trace_call_bpf` in kernel/trace/bpf_trace.c).
    pub(super) fn report_losses_throttled(&mut self) -> anyhow::Result<()> {
        if self.losses_reported_at.elapsed() < LOSS_REPORT_INTERVAL { Ok(()) } else { self.report_losses() }
    }

    /// Says what the kernel's side has missed since the last time.
    pub(super) fn report_losses(&mut self) -> anyhow::Result<()> {
        let Some(observation) = &mut self.sensor else { return Ok(()) };
        self.losses_reported_at = Instant::now();
        let missed = observation.missed()?;
        if missed.is_nothing() {
            return Ok(());
        }
        self.record_totals.missed.add(missed);
        self.emit(Event::now(Body::Lost(missed)))
    }

    fn context(&self) -> anyhow::Result<decode::Context> {
        let (since_boot, now) = (since_boot()?, SystemTime::now());
        Ok(decode::Context {
            booted: now.checked_sub(since_boot).unwrap_or(now),
            page_size: self.facts.page_size,
            struct_page_size: self.facts.struct_page_size,
        })
    }
}
