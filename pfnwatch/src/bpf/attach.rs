//! Loading the eBPF object with what the agent knows of this kernel, and attaching the programs of a plan.

mod failure;
mod program;
mod verifier;

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, bail};
use aya::Ebpf;
use aya::programs::links::FdLink;
use pfnwatch_common::layout::Layout;
use pfnwatch_common::names;
use zerocopy::IntoBytes as _;

pub use self::failure::failure_of;
use self::program::attach_program;
pub use self::verifier::verify;
use super::btf_ids::synthetic_btf;
use super::counters::Counters;
use super::debug_log::DebugLog;
use super::guard::GuardMaps;
use super::leftovers::Leftovers;
use super::loader;
use super::pins::{Pins, SHARED};
use super::preallocated::preallocated;
use super::probe_link::ProbeLink;
use super::ring::Ring;
use crate::kernel::libnvdimm::FunctionIds;
use crate::kernel::programs::{BLOCK_READER, Hook, MissingRequiredProgram, ProgramPlan, is_required};
use crate::model::event::ProgramState;

/// The eBPF object, built before the agent by `cargo xtask build` and kept inside it.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/pfnwatch-ebpf"));

#[derive(Clone, Debug)]
pub struct Settings {
    pub layout: Layout,
    pub functions: FunctionIds,
    pub debug: bool,
    /// Size of the ring buffer in bytes: a power of two, and whole pages.
    pub ring_bytes: u32,
    /// Whether hash maps are allocated as a whole.
    pub preallocate: bool,
    /// The process for whose reads info blocks are sent; 0 for none.
    pub reader: u32,
    pub guard_id: u64,
    pub known_blocks: u32,
    /// Where the maps are shared and links are pinned; `None` if neither is wanted.
    pub pins: Option<Pins>,
}

pub struct Attached {
    pub programs: Vec<ProgramState>,
    pub links: Links,
    pub ring: Ring,
    pub counters: Counters,
    pub leftovers: Leftovers,
    pub guard: GuardMaps,
    pub debug_log: Option<DebugLog>,
}

/// Keeps programs attached as long as it lives: when the agent ends, however it ends, the kernel detaches them.
pub struct Links {
    pub(super) ebpf: Ebpf,
    owned: Vec<(&'static str, FdLink)>,
    /// Links that are pinned: they stay when this is dropped.
    pinned: Vec<FdLink>,
    probes: BTreeMap<&'static str, ProbeLink>,
}

impl Links {
    /// How often the kernel did not run a probe; `None` if it does not report that, and of programs that are no probes.
    pub(super) fn probe_misses(&self, program: &str) -> Option<u64> {
        self.probes.get(program)?.missed()
    }

    /// Pins what can be pinned: the programs then outlive the agent.
    ///
    /// # Errors
    /// If one cannot be pinned, none is.
    pub(super) fn pin(&mut self, pins: &Pins, guard: u64) -> anyhow::Result<()> {
        self.pinned = pins.pin(std::mem::take(&mut self.owned), guard)?;
        Ok(())
    }
}

/// Makes aya probe this kernel's eBPF features, which it does once before the first load: it tries a dozen programs.
/// That takes as long as reading the kernel's types, and can run in parallel.
pub fn probe_features() {
    aya::features();
}

pub fn attach(settings: &Settings, plan: &[ProgramPlan]) -> anyhow::Result<Attached> {
    let planned = plan.iter().any(|step| step.name == names::BIND_END && step.disabled_reason.is_none());
    let attached = attach_once(settings, plan, planned)?;
    let failed = |state: &&ProgramState| state.program == names::BIND_END && !state.attached;
    let Some(state) = attached.programs.iter().find(failed).filter(|_| planned) else { return Ok(attached) };
    // The programs were attached to wait for the end of an attempt, and the kernel does not report it: attach again without.
    let reason = state.reason.clone();
    let without = plan.iter().map(|step| ProgramPlan {
        disabled_reason: if step.name == names::BIND_END { reason.clone() } else { step.disabled_reason.clone() },
        ..step.clone()
    });
    attach_once(settings, &without.collect::<Vec<_>>(), false)
}

fn attach_once(settings: &Settings, plan: &[ProgramPlan], bind_seen: bool) -> anyhow::Result<Attached> {
    let mut ebpf = load(settings, bind_seen)?;
    let types = synthetic_btf(&settings.functions)?;
    let debug_log = if settings.debug { Some(DebugLog::open(&mut ebpf)?) } else { None };
    let (ring, counters) = (Ring::take(&mut ebpf)?, Counters::take(&mut ebpf)?);
    let leftovers = Leftovers::take(&mut ebpf)?;
    let guard = GuardMaps::take(&mut ebpf)?;
    let mut programs = Vec::with_capacity(plan.len());
    let (mut taken, mut probes) = (Vec::new(), BTreeMap::new());
    for step in plan {
        let attached = match &step.disabled_reason {
            Some(reason) => Err(anyhow!(reason.clone())),
            None => attach_program(&mut ebpf, step, Some(&types), settings.pins.is_some()),
        };
        let reason = match attached {
            Ok(link) => {
                if let (Hook::Kprobe(_) | Hook::Kretprobe(_), Some(link)) = (step.hook, &link) {
                    // Without it the number of misses is unknown.
                    probes.extend(ProbeLink::of(link).ok().map(|probe| (step.name, probe)));
                }
                taken.extend(link.map(|link| (step.name, link)));
                None
            }
            Err(error) if is_required(step.name) => {
                let (reason, failure) = (format!("{error:#}"), failure_of(&error));
                bail!(MissingRequiredProgram { program: step.name, reason, failure });
            }
            Err(error) => Some(format!("{error:#}")),
        };
        let attached = reason.is_none();
        programs.push(ProgramState {
            program: step.name.to_owned(),
            attached,
            reason: reason.or(step.degraded_reason.clone()),
        });
    }
    Ok(Attached {
        programs,
        links: Links { ebpf, owned: taken, pinned: Vec::new(), probes },
        ring,
        counters,
        leftovers,
        guard,
        debug_log,
    })
}

/// Attaches the program that hands info blocks over, and no other.
pub fn attach_block_reader(settings: &Settings) -> anyhow::Result<(Links, Ring)> {
    let mut ebpf = load(settings, false)?;
    let ring = Ring::take(&mut ebpf)?;
    let link = attach_program(&mut ebpf, &BLOCK_READER, None, false)?;
    let owned = link.map(|link| (BLOCK_READER.name, link)).into_iter().collect();
    Ok((Links { ebpf, owned, pinned: Vec::new(), probes: BTreeMap::new() }, ring))
}

/// Creates the maps and prepares the programs; none is in the kernel yet.
fn load(settings: &Settings, bind_seen: bool) -> anyhow::Result<Ebpf> {
    let mut loader = loader::without_types();
    if let Some(pins) = &settings.pins {
        pins.prepare()?;
        for name in SHARED {
            loader.map_pin_path(name, pins.map(name));
        }
    }
    let object = if settings.preallocate { Cow::Owned(preallocated(OBJECT)?) } else { Cow::Borrowed(OBJECT) };
    loader
        .override_global(names::LAYOUT, settings.layout.as_bytes(), true)
        .override_global(names::BIND_SEEN, &u8::from(bind_seen), true)
        .override_global(names::READER, &settings.reader, true)
        .override_global(names::DEBUG, &u8::from(settings.debug), true)
        .override_global(names::GUARD_ID, &settings.guard_id, true)
        .map_max_entries(names::RECORDS, settings.ring_bytes)
        .map_max_entries(names::KNOWN_BLOCKS, settings.known_blocks)
        // The messages' own ring buffer is as small as can be until somebody wants them.
        .map_max_entries("AYA_LOGS", if settings.debug { 1 << 16 } else { 1 << 12 })
        .load(&object)
        .context("the eBPF maps cannot be made: are CAP_BPF and CAP_PERFMON (or root) and enough memory there?")
}
