//! One stretch of observing: from the attachment of the programs until they are detached.

use std::{io, path::PathBuf, time::Instant};

use anyhow::Context as _;
use bytes::Bytes;
use pfnwatch_common::counter::Counter;
use tokio::io::unix::AsyncFd;

use crate::{
    assess::Thresholds,
    bpf::{
        attach::{Attached, Links, Settings, attach},
        counters::{Counters, Totals},
        debug_log::DebugLog,
        plan::plan,
    },
    event::{Lost, ProgramState},
    exit::Because,
    kernel::target,
    paths::Paths,
    readiness::readable,
    source::Source,
};

/// How to observe.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where sysfs and procfs are.
    pub paths: Paths,
    /// Where BTF is taken from, if not from sysfs.
    pub btf_dir: Option<PathBuf>,
    /// Size of the ring buffer in bytes.
    pub ring_bytes: u32,
    /// Whether the eBPF programs write debug messages.
    pub debug: bool,
    /// What is worth a verdict.
    pub thresholds: Thresholds,
}

/// Programs in the kernel, and what comes out of them.
pub struct Observation {
    /// Every program, attached or not.
    pub programs: Vec<ProgramState>,
    /// The records.
    pub source: Source,
    links: Option<Links>,
    counters: Counters,
    told: Totals,
    debug_log: Option<AsyncFd<DebugLog>>,
}

impl Observation {
    /// Resolves the kernel's layouts, loads the programs and attaches them.
    ///
    /// # Errors
    /// This kernel cannot be observed: exit code 4, with the reason.
    pub fn begin(options: &Options) -> anyhow::Result<Self> {
        Self::try_begin(options)
            .context(Because::unsupported("this host cannot be observed (`pfnwatch doctor` says what is missing)"))
    }

    fn try_begin(options: &Options) -> anyhow::Result<Self> {
        let began = Instant::now();
        let kernel = target::resolve_layouts(&options.paths, options.btf_dir.as_deref())?;
        tracing::debug!("layouts known after {:?}", began.elapsed());
        let steps = plan(&kernel)?;
        let settings =
            Settings { layout: kernel.layout, debug: options.debug, ring_bytes: options.ring_bytes, reader: 0 };
        let Attached { programs, links, ring, counters, debug_log } = attach(&settings, &steps)?;
        tracing::debug!("programs attached after {:?}", began.elapsed());
        Ok(Self {
            programs,
            source: Source::new(ring).context("the ring buffer cannot be waited on")?,
            links: Some(links),
            counters,
            told: Totals::default(),
            debug_log: debug_log.map(readable).transpose().context("the debug messages cannot be waited on")?,
        })
    }

    /// Waits for records and moves them into `into`; debug messages that come meanwhile are logged.
    ///
    /// # Errors
    /// Waiting failed.
    pub async fn wait(&mut self, into: &mut Vec<Bytes>) -> io::Result<()> {
        let Some(debug_log) = &mut self.debug_log else { return self.source.wait(into).await };
        tokio::select! {
            records = self.source.wait(into) => records,
            ready = debug_log.readable_mut() => {
                let mut ready = ready?;
                ready.get_inner_mut().flush();
                ready.clear_ready();
                Ok(())
            }
        }
    }

    /// Detaches all programs. What they wrote can still be read.
    pub fn detach(&mut self) {
        self.links = None;
    }

    /// What was missed since this was asked for the last time.
    ///
    /// # Errors
    /// The counters cannot be read.
    pub fn missed(&mut self) -> anyhow::Result<Lost> {
        let now = self.counters.read()?;
        let since = |counter| now.of(counter).saturating_sub(self.told.of(counter));
        let missed = Lost {
            lost: since(Counter::Lost),
            read_faults: since(Counter::ReadFault),
            table_full: since(Counter::TableFull),
            unpaired: since(Counter::Unpaired),
            guard_faults: since(Counter::GuardFault),
            blocks_missed: since(Counter::BlockMissed),
        };
        self.told = now;
        Ok(missed)
    }
}
