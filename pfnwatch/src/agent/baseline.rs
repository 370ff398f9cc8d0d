//! What costs more than it did, told as it is learned.

use std::{io::Write, time::SystemTime};

use super::Agent;
use crate::{
    kernel::boot,
    model::{
        event::{Body, Event, MaxStructPageReport},
        store::BootRow,
        survey::ScanResult,
    },
};

impl<W: Write> Agent<W> {
    /// Holds the running kernel against those before it.
    pub(super) fn compare_kernel(&mut self, known: &MaxStructPageReport) -> anyhow::Result<()> {
        // Without the boot's own number it cannot be told from the others.
        let Some(boot_id) = boot::id(&self.options.paths) else { return Ok(()) };
        let now = SystemTime::now();
        let boot = BootRow {
            boot_id,
            module_build_id: boot::libnvdimm_build_id(&self.options.paths),
            release: self.facts.release.clone(),
            struct_page_size: self.facts.struct_page_size,
            max_struct_page_size: known.status.max_struct_page_size_bytes,
            evidence: known.status.evidence.clone(),
            first_seen: now,
            last_seen: now,
            set_aside: false,
            accepted: None,
        };
        let told = self.baseline.observe_kernel(&mut self.store, boot);
        self.emit_all(told)
    }

    /// Holds all namespaces against what they cost before.
    pub(super) fn compare_all(&mut self, survey: &ScanResult) -> anyhow::Result<()> {
        let told = self.baseline.observe_scan(&mut self.store, survey);
        self.emit_all(told)
    }

    /// Holds a namespace against what it cost before, where the event is about one.
    pub(super) fn compare(&mut self, event: &Event) -> anyhow::Result<()> {
        let told = self.baseline.observe_event(&mut self.store, event);
        self.emit_all(told)
    }

    /// Writes down now and then, and at the end, that this kernel still runs.
    pub(super) fn heartbeat(&mut self, ends: bool) {
        if self.sensor.is_some() {
            self.baseline.heartbeat(&mut self.store, SystemTime::now(), ends);
        }
    }

    fn emit_all(&mut self, told: impl IntoIterator<Item = Body>) -> anyhow::Result<()> {
        told.into_iter().try_for_each(|body| self.emit(Event::now(body)))
    }
}
