//! The way of a record to a line.

use std::{
    io::Write,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::time::Instant;

use super::Pipeline;
use crate::{
    assess::Host,
    decode::{self, decode},
    event::{Body, Event, Undecoded},
    inventory::{Inventory, Roots},
    kernel::boot::since_boot,
    memory,
    privileges::raised,
    verdicts,
};

/// How often the counters are looked at while records come.
const ACCOUNT_EVERY: Duration = Duration::from_secs(1);

impl<W: Write> Pipeline<W> {
    pub(super) fn deliver(&mut self, batch: &mut Vec<Bytes>) -> anyhow::Result<()> {
        let (context, host) = (self.context()?, Host::from(&self.facts));
        for record in batch.drain(..) {
            self.ended.received += 1;
            let event = decode(&record, &context).unwrap_or_else(|error| {
                self.ended.undecoded += 1;
                let length_bytes = u64::try_from(record.len()).unwrap_or(u64::MAX);
                Event::now(Body::Undecoded(Undecoded { length_bytes, reason: error.to_string() }))
            });
            let mut event = self.labels.follow(event);
            verdicts::judge(&mut event, &host, &self.guard.policy().thresholds);
            let news = self.kernel.learn(&event);
            self.aftermath.follow(&mut event, context.booted);
            self.kept.follow(&mut event);
            self.complete(&mut event);
            self.emit(event.clone())?;
            self.heed(&event)?;
            self.meet_region(&event);
            self.compare(&event)?;
            if news {
                // Before what takes longer: symbols and code are read.
                self.publish()?;
                self.weigh()?;
            }
        }
        Ok(())
    }

    /// libnvdimm that is loaded may find a region after the look at what is there: a namespace of it shows that.
    fn meet_region(&mut self, event: &Event) {
        let start = match &event.body {
            Body::SetUp(set_up) => set_up.namespace.as_ref().map(|namespace| namespace.start_address),
            Body::Probe(probe) => probe.namespace.as_ref().map(|namespace| namespace.start_address),
            Body::Label(_) => None,
            _ => return,
        };
        if self.guard.misses_region(start) {
            self.look_for_regions();
        }
    }

    /// Takes note of regions that libnvdimm has found since the look at what is there.
    pub(super) fn look_for_regions(&mut self) {
        let read = Inventory::read(&Roots::from(&self.options.paths));
        if let Err(error) = read.and_then(|inventory| self.guard.survey_regions(&inventory)) {
            tracing::warn!("{error:#}: an exemption of a region that came late does not count yet");
        }
    }

    /// Says what the running kernel reserves for each page, where that is news.
    pub(super) fn weigh(&mut self) -> anyhow::Result<()> {
        let known = raised(|| self.kernel.look(&self.options.paths, &self.facts.release));
        memory::give_back();
        let Some(known) = known else { return Ok(()) };
        self.emit(Event::now(Body::MaxStructPage(known.clone())))?;
        self.compare_kernel(&known)?;
        self.rearm()
    }

    /// The same, but not again and again while a burst goes on: a look-up in a map holds this CPU's probes off (they are
    /// skipped where a task that is probed comes in between, `trace_call_bpf` in kernel/trace/bpf_trace.c).
    pub(super) fn account_soon(&mut self) -> anyhow::Result<()> {
        if self.accounted.elapsed() < ACCOUNT_EVERY { Ok(()) } else { self.account() }
    }

    /// Says what the kernel's side has missed since the last time.
    pub(super) fn account(&mut self) -> anyhow::Result<()> {
        let Some(observation) = &mut self.observation else { return Ok(()) };
        self.accounted = Instant::now();
        let missed = observation.missed()?;
        if missed.is_nothing() {
            return Ok(());
        }
        self.ended.missed.add(missed);
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
