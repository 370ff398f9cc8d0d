//! One stretch of observing: from the attachment of the programs until they are detached.

use crate::os::paths::Paths;
use std::io;
use std::path::PathBuf;
use std::task::{self, Poll};
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use pfnwatch_common::counter::Counter;
use pfnwatch_common::layout::Layout;
use pfnwatch_common::names;
use tokio::io::unix::AsyncFd;

use crate::bpf::attach::{Attached, Links, Settings, attach, failure_of};
use crate::bpf::counters::Counters;
use crate::bpf::debug_log::DebugLog;
use crate::bpf::guard::GuardMaps;
use crate::bpf::leftovers::Leftovers;
use crate::bpf::pins::Pins;
use crate::bpf::record_stream::Source;
use crate::bpf::takeover::{OnExit, take_over};
use crate::kernel::btf::Btf;
use crate::kernel::libnvdimm::{self, Target};
use crate::kernel::programs::{AttachFailure, plan};
use crate::model::event::ProgramState;
use crate::model::exit::ExitContext;
use crate::model::view::ProgramRuns;
use crate::os::async_fd::readable;
use crate::os::clock::since_boot;

#[derive(Clone, Debug)]
pub struct SensorOptions {
    pub paths: Paths,
    pub btf_dir: Option<PathBuf>,
    /// Size of the ring buffer in bytes.
    pub ring_bytes: u32,
    pub debug: bool,
    pub known_blocks: u32,
    /// Attach the guard twice, also where the kernel does not skip it.
    pub guard_twice: bool,
}

pub struct AttachedPrograms {
    pub programs: Vec<ProgramState>,
    pub guard_id: u64,
    pub layout: Layout,
    pub counters: Counters,
    source: Source,
    links: Option<Links>,
    leftovers: Leftovers,
    debug_log: Option<AsyncFd<DebugLog>>,
}

/// The guard's side of an attachment.
pub struct AttachedGuard {
    pub maps: GuardMaps,
    /// Whether it replaces a guard that ran without an agent.
    pub taken_over: bool,
    /// Whether the maps are those of an earlier load.
    pub shared: bool,
}

impl AttachedPrograms {
    /// Resolves the kernel's layouts, by `types` if they were already read, loads the programs and attaches them.
    ///
    /// # Errors
    /// This kernel cannot be observed: exit code 4, with the reason. A failure that may pass has no exit code of its own: the agent
    /// retries.
    pub fn attach(options: &SensorOptions, stay: OnExit, types: Option<Btf>) -> anyhow::Result<(Self, AttachedGuard)> {
        Self::try_attach(options, stay, types).map_err(|error| match failure_of(&error) {
            AttachFailure::Permanent => error.context(ExitContext::unsupported(
                "this host cannot be observed (`pfnwatch doctor` reports what is missing)",
            )),
            AttachFailure::Transient => error.context("the programs cannot be attached for now"),
        })
    }

    fn try_attach(options: &SensorOptions, stay: OnExit, types: Option<Btf>) -> anyhow::Result<(Self, AttachedGuard)> {
        let began = Instant::now();
        let Target { resolution: kernel, functions, mut runtime } =
            libnvdimm::resolve_target(&options.paths, options.btf_dir.as_deref(), types)?;
        runtime.skips_guard |= options.guard_twice;
        tracing::debug!("layouts known after {:?}", began.elapsed());
        let steps = plan(&kernel, runtime)?;
        let guard_id = guard_id()?;
        let pins = Pins::system();
        // What an agent before has left is taken over, even where this one leaves nothing.
        let held = pins.pinned();
        let settings = Settings {
            layout: kernel.layout,
            functions,
            debug: options.debug,
            preallocate: runtime.preallocates,
            ring_bytes: held.map_or(options.ring_bytes, |held| held.ring_bytes),
            reader: 0,
            guard_id,
            known_blocks: held.map_or(options.known_blocks, |held| held.known_blocks),
            pins: (stay == OnExit::Pinned || held.is_some()).then(|| pins.clone()),
        };
        let Attached { programs, mut links, ring, counters, leftovers, mut guard, debug_log } =
            attach(&settings, &steps)?;
        let source = Source::new(ring).context("the ring buffer cannot be waited on")?;
        let debug_log = debug_log.map(readable).transpose().context("the debug messages cannot be waited on")?;
        // The last that can fail: until it is done, an earlier load is active.
        let taken_over = take_over(&mut guard, &mut links, guard_id, &pins, stay)?;
        tracing::debug!("programs attached after {:?}", began.elapsed());
        let guard = AttachedGuard { maps: guard, taken_over, shared: held.is_some() };
        let layout = settings.layout;
        Ok((Self { programs, guard_id, layout, counters, source, links: Some(links), leftovers, debug_log }, guard))
    }

    /// Waits for records and moves them into `into`; logs debug messages that come meanwhile.
    pub fn poll_wait(&mut self, context: &mut task::Context<'_>, into: &mut Vec<Bytes>) -> Poll<io::Result<()>> {
        if let Poll::Ready(waited) = self.source.poll_wait(context, into) {
            return Poll::Ready(waited);
        }
        let Some(debug_log) = &mut self.debug_log else { return Poll::Pending };
        let mut ready = task::ready!(debug_log.poll_read_ready_mut(context))?;
        ready.get_inner_mut().flush();
        ready.clear_ready();
        Poll::Ready(Ok(()))
    }

    /// Moves the remaining records into `into`, without waiting; false once there are none.
    pub fn drain(&mut self, into: &mut Vec<Bytes>) -> bool {
        self.source.drain(into)
    }

    /// Why the guard is not attached; `None` if it is.
    pub fn guard_off(&self) -> Option<String> {
        let state = self.programs.iter().find(|state| state.program == names::GUARD && state.attached);
        let why = || self.programs.iter().find(|state| state.program == names::GUARD)?.reason.clone();
        if state.is_some() { None } else { Some(why().unwrap_or_else(|| "it is not attached".to_owned())) }
    }

    pub const fn is_attached(&self) -> bool {
        self.links.is_some()
    }

    pub fn run_count(&self, program: &str) -> anyhow::Result<u64> {
        self.links.as_ref().context("the programs are detached")?.run_count(program)
    }

    /// What the programs that are loaded have cost, and how often they were skipped.
    ///
    /// `counted`: the kernel counts runs.
    pub fn runs(&self, counted: bool) -> Vec<ProgramRuns> {
        let Some(links) = &self.links else { return Vec::new() };
        self.programs.iter().filter_map(|state| links.runs(&state.program, counted).ok()).collect()
    }

    /// Detaches all programs. Records in the ring can still be read.
    pub fn detach(&mut self) {
        self.links = None;
    }

    /// Removes what has never ended from the tables of the programs, and counts it.
    ///
    /// # Errors
    /// The count cannot be written.
    pub fn sweep(&mut self) -> anyhow::Result<()> {
        let swept = self.leftovers.sweep(u64::try_from(since_boot()?.as_nanos()).unwrap_or(u64::MAX));
        self.counters.add(Counter::Swept, swept)
    }
}

/// A number that no guard had since boot: the time.
fn guard_id() -> anyhow::Result<u64> {
    Ok(u64::try_from(since_boot()?.as_nanos()).unwrap_or(1).max(1))
}
