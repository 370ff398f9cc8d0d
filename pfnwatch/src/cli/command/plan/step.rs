//! The rebuild of one namespace: the gain, the obstacles, and the commands.

use pfnwatch_common::{Geometry, KernelQuirks, Map, reservation};
use serde::Serialize;

use super::{
    PlanContext,
    commands::{self, PlanTarget},
};
use crate::{
    analysis::assess::{deduplicated_memmap, memmap_in_dram},
    model::{
        facts::{NamespaceMode, map_name},
        inventory::Region,
        scan_result::AssessedNamespace,
        units::Bytes,
    },
    sysfs::inventory::{detail::Detail, usage::Usage},
};

/// One namespace of the plan.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PlanStep"))]
pub(super) struct PlanStep {
    /// `namespace0.0`
    pub(super) namespace: String,
    /// `fsdax` or `devdax`.
    pub(super) mode: &'static str,
    /// Where the memmap lives: `dev` or `mem`.
    pub(super) map: &'static str,
    /// Its size in bytes.
    pub(super) size_bytes: u64,
    /// What users can store in now.
    pub(super) usable_bytes: u64,
    /// What a rebuild gives back under a kernel without the regression.
    pub(super) excess_bytes: u64,
    /// What a rebuild with the same map gives back under the running kernel, if that is known.
    pub(super) gain_on_this_kernel_bytes: Option<u64>,
    /// Why it costs what it costs, in words.
    pub(super) cause: String,
    /// Whether somebody uses it.
    pub(super) in_use: bool,
    /// What stands in the way, and what will be lost.
    pub(super) warnings: Vec<String>,
    /// How it is done: one of these, the plainest first.
    pub(super) ways: Vec<RebuildOption>,
}

/// One way to get the bytes back.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PlanWay"))]
pub(super) struct RebuildOption {
    /// What it is, in words.
    pub(super) title: String,
    /// What users could store in then.
    pub(super) usable_bytes: Option<u64>,
    /// The commands: for people, nothing runs them.
    pub(super) commands: Vec<String>,
}

impl PlanStep {
    /// `None` if the numbers that a plan needs are unknown.
    pub(super) fn of(
        judged: &AssessedNamespace,
        region: Option<&Region>,
        detail: Option<&Detail>,
        context: &PlanContext<'_>,
    ) -> Option<Self> {
        let numbers = judged.assessment.numbers;
        let (size, usable, excess) = (numbers.size?, numbers.usable?, numbers.excess?);
        let geometry = geometry(judged, context)?;
        let mut warnings = Vec::new();
        let in_use = uses(judged, detail, &context.usage, &mut warnings);
        let others = region.filter(|region| region.read_only == Ok(true));
        warnings.extend(others.map(|region| format!("{} is read-only: nothing can be rebuilt there", region.name)));
        warnings.push(format!("back up everything in it ({} at most): it is destroyed", Bytes(usable)));
        let target = PlanTarget { judged, detail, align: geometry.align, usage: &context.usage };
        Some(Self {
            namespace: judged.namespace.name.clone(),
            mode: judged.mode(),
            map: map_name(geometry.map),
            size_bytes: size,
            usable_bytes: usable,
            excess_bytes: excess,
            gain_on_this_kernel_bytes: gain(&geometry, usable, context),
            cause: judged.assessment.detail.clone(),
            in_use,
            warnings,
            ways: ways(&target, &geometry, context),
        })
    }
}

fn geometry(judged: &AssessedNamespace, context: &PlanContext<'_>) -> Option<Geometry> {
    let facts = &judged.facts;
    let block = facts.block.as_ref().filter(|block| block.version_minor >= 2);
    // A block without an align of its own is rebuilt with the usual one.
    let align = block.map_or(facts.align.filter(|_| facts.block.is_none()), |block| Some(block.align));
    Some(Geometry {
        // Where the start is hidden the align is no coarser than the kernel's, or there would be no verdict.
        start: facts.start.unwrap_or(0),
        size: facts.size?,
        align: align.unwrap_or(context.host.compat),
        map: judged.map()?,
        page_size: context.host.page_size,
        compat: context.host.compat,
    })
}

fn usable_with(geometry: &Geometry, struct_page: u64) -> Option<u64> {
    // A namespace with nothing usable is no gain, whether the kernel makes it or not.
    reservation(geometry, struct_page, KernelQuirks::default()).ok().map(|reserved| reserved.usable)
}

fn gain(geometry: &Geometry, usable: u64, context: &PlanContext<'_>) -> Option<u64> {
    Some(usable_with(geometry, context.page_cost.bytes?)?.saturating_sub(usable))
}

fn uses(judged: &AssessedNamespace, detail: Option<&Detail>, usage: &Usage, warnings: &mut Vec<String>) -> bool {
    let before = warnings.len();
    let namespace = &judged.namespace;
    let disk = namespace.disk().unwrap_or_default();
    let device = if judged.facts.mode == NamespaceMode::Devdax {
        namespace.character_device().unwrap_or_default()
    } else {
        disk.clone()
    };
    for mount in usage.mounts_of(&disk) {
        warnings.push(format!("/dev/{} is mounted at {} ({})", mount.device, mount.place, mount.kind));
    }
    for opener in usage.openers_of(&device) {
        warnings.push(format!("/dev/{} is open in process {} ({})", opener.device, opener.pid, opener.comm));
    }
    for stacked in detail.iter().flat_map(|detail| &detail.stacked) {
        warnings.push(format!("/dev/{disk} is claimed by {stacked}: take that apart first"));
    }
    if namespace.system_ram {
        warnings.push(format!("{device} is in use as system RAM: it has to go offline first"));
    }
    warnings.len() > before
}

fn ways(target: &PlanTarget<'_>, geometry: &Geometry, context: &PlanContext<'_>) -> Vec<RebuildOption> {
    let reference = context.thresholds.reference_struct_page;
    let lean = usable_with(geometry, reference);
    let plain =
        |title: String| RebuildOption { title, usable_bytes: lean, commands: commands::rebuild(target, geometry.map) };
    match context.page_cost.bytes {
        Some(bytes) if bytes <= reference => {
            let usable_bytes = usable_with(geometry, bytes);
            vec![RebuildOption { usable_bytes, ..plain("rebuild it under this kernel".to_owned()) }]
        }
        known => {
            let first = match known {
                Some(bytes) => format!(
                    "boot a kernel without the regression (this one reserves {bytes} bytes for each page), then rebuild"
                ),
                None => "rebuild it, once `sudo pfnwatch kernel --running` says that this kernel reserves 64 bytes"
                    .to_owned(),
            };
            let mut ways = vec![plain(first)];
            ways.extend(with_map_mem(target, geometry, context));
            ways.extend(by_hand(target, geometry, lean));
            ways
        }
    }
}

/// Works on any kernel: the memmap is in DRAM.
fn with_map_mem(target: &PlanTarget<'_>, geometry: &Geometry, context: &PlanContext<'_>) -> Option<RebuildOption> {
    if geometry.map == Map::Mem {
        return None;
    }
    let mem = Geometry { map: Map::Mem, ..*geometry };
    let host = &context.host;
    let deduplicates = target.judged.facts.mode == NamespaceMode::Devdax && host.deduplicates == Some(true);
    let dram = deduplicated_memmap(mem.size, mem.align, host)
        .filter(|_| deduplicates)
        .or_else(|| memmap_in_dram(mem.size, host));
    let cost = dram.map_or("an amount that is not known".to_owned(), |bytes| Bytes(bytes).to_string());
    Some(RebuildOption {
        title: format!("under any kernel, with map=mem: its memmap then takes {cost} of DRAM"),
        usable_bytes: usable_with(&mem, 0),
        commands: commands::rebuild(target, Map::Mem),
    })
}

/// ndctl computes with its own 64 and from address 0, so the start must be a multiple of the align.
fn by_hand(target: &PlanTarget<'_>, geometry: &Geometry, lean: Option<u64>) -> Option<RebuildOption> {
    let align = geometry.align.max(geometry.compat);
    let aligned = align.is_power_of_two() && geometry.start & (align - 1) == 0;
    if geometry.map != Map::Dev || !aligned {
        return None;
    }
    Some(RebuildOption {
        title: "under any kernel, with an info block that ndctl writes (a debug facility of ndctl)".to_owned(),
        usable_bytes: lean,
        commands: commands::write_infoblock(target),
    })
}
