//! One agent from its start to its end: its events, and whether it grows.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::expected::Streams;
use crate::bench::footprint;
use crate::guard::Guard;
use crate::wait;

const TIMEOUT: Duration = Duration::from_secs(150);
/// After so many comparisons an agent has allocated all that it will need.
const WARM: usize = 4;
/// The limit of additional files: a request may be in progress.
const MAX_FILES_GROWTH: usize = 1;
/// The limit of additional memory: the allocator's rest varies by that much when the programs are reloaded.
const MAX_GROWTH_BYTES: u64 = 2 << 20;

pub struct Life {
    pub guard: Guard,
    told: usize,
    settlements: usize,
    /// The minimum since it was warm: a single sample may be during some work.
    warm: Option<Size>,
}

#[derive(Clone, Copy, Debug)]
struct Size {
    anon_bytes: u64,
    files: usize,
}

impl Size {
    fn min(self, other: Self) -> Self {
        Self { anon_bytes: self.anon_bytes.min(other.anon_bytes), files: self.files.min(other.files) }
    }
}

impl Life {
    pub const fn new(guard: Guard) -> Self {
        Self { guard, told: 0, settlements: 0, warm: None }
    }

    pub fn wait_for_events(&mut self, streams: &mut Streams) -> Result<()> {
        let mut complaint = None;
        let told = wait::until("an event for everything that was done", TIMEOUT, || {
            if let Err(error) = self.listen(streams) {
                complaint = Some(format!("{error:#}"));
                return Some(());
            }
            complaint = streams.complaint();
            complaint.is_none().then_some(())
        });
        match complaint {
            None => told?,
            Some(complaint) => anyhow::bail!("{complaint}{}", self.guard.output()),
        }
        self.settlements += 1;
        self.does_not_grow()
    }

    pub fn read_rest(&mut self, streams: &mut Streams) -> Result<()> {
        self.guard.remaining_events();
        self.listen(streams)
    }

    fn listen(&mut self, streams: &mut Streams) -> Result<()> {
        let all = self.guard.events(|_| true);
        for event in all.iter().skip(self.told) {
            ensure!(event.get("uncommitted").is_none(), "reported, and not in the event store: {event}");
            ensure!(event.pointer("/guard/mismatch") != Some(&true.into()), "the guard predicted otherwise: {event}");
            streams.record(event);
        }
        self.told = all.len();
        Ok(())
    }

    /// What it needs temporarily, when it attaches or evaluates the kernel's code, is freed by then.
    fn does_not_grow(&mut self) -> Result<()> {
        let now = self.size()?;
        if self.settlements < WARM {
            return Ok(());
        }
        let warm = self.warm.map_or(now, |warm| warm.min(now));
        self.warm = Some(warm);
        let small = |now: &Size| {
            now.anon_bytes <= warm.anon_bytes + MAX_GROWTH_BYTES && now.files <= warm.files + MAX_FILES_GROWTH
        };
        let grown = || format!("the agent grows: {warm:?} at min, {:?} after {} events", self.size(), self.told);
        wait::until("a small agent", TIMEOUT, || self.size().ok().filter(small)).map(drop).with_context(grown)
    }

    fn size(&self) -> Result<Size> {
        let pid = self.guard.pid()?;
        let files = fs::read_dir(format!("/proc/{pid}/fd")).context("no list of open files")?.count();
        Ok(Size { anon_bytes: footprint::resident(pid)?.anon_bytes, files })
    }

    /// The minimum since it was warm, and the current size.
    pub fn words(&self) -> Option<String> {
        let (warm, now) = (self.warm?, self.size().ok()?);
        Some(format!(
            "RssAnon {} KiB at min, {} KiB after {} events; files {} and {}",
            warm.anon_bytes / 1024,
            now.anon_bytes / 1024,
            self.told,
            warm.files,
            now.files
        ))
    }
}
