//! The rebuild of one namespace: the gain, the obstacles, and the commands.

use pfnwatch_common::{Geometry, KernelQuirks, Map, reservation};
use serde::Serialize;

use super::PlanContext;
use super::commands::{self, Block, NDCTL_START_ALIGN, PlanTarget};
use crate::analysis::memmap::{MappedNamespace, cost_of_map_mem};
use crate::cli::command::predict::place::{self, SizeRules};
use crate::model::facts::map_name;
use crate::model::inventory::{DeviceUser, Region};
use crate::model::scan_result::AssessedNamespace;
use crate::model::units::Bytes;

/// One namespace of the plan.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PlanStep"))]
pub(super) struct PlanStep {
    /// `namespace0.0`
    pub(super) namespace: String,
    /// `fsdax` or `devdax`.
    pub(super) mode: &'static str,
    /// Where the memmap is: `dev` or `mem`.
    pub(super) map: &'static str,
    /// Its size in bytes.
    pub(super) size_bytes: u64,
    /// Usable bytes now.
    pub(super) usable_bytes: u64,
    /// What a rebuild returns under a kernel without the regression.
    pub(super) excess_bytes: u64,
    /// What a rebuild with the same map returns under the running kernel, if that is known.
    pub(super) gain_on_this_kernel_bytes: Option<u64>,
    /// The cause of its cost, in words.
    pub(super) cause: String,
    /// Whether somebody uses it.
    pub(super) in_use: bool,
    /// Who uses it, in the order in which to stop them.
    pub(super) users: Vec<DeviceUser>,
    /// What prevents the rebuild, and what will be lost.
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
    /// Usable bytes after the rebuild.
    pub(super) usable_bytes: Option<u64>,
    /// The commands for root's shell, after those of `checks`: nothing runs them. None if a warning has the reason.
    pub(super) commands: Vec<String>,
    /// The part of the commands that the shell runs.
    #[serde(skip)]
    pub(super) block: Option<Block>,
}

impl PlanStep {
    /// `None` if the numbers that a plan needs are unknown.
    pub(super) fn of(judged: &AssessedNamespace, region: Option<&Region>, context: &PlanContext<'_>) -> Option<Self> {
        let numbers = judged.assessment.numbers;
        let (size, usable, excess) = (numbers.size?, numbers.usable?, numbers.excess?);
        let geometry = geometry(judged, context)?;
        // What an older kernel has cut off at the end comes back as well, and is no excess.
        let lean = usable_with(&geometry, context.thresholds.reference_struct_page);
        let returned = lean.map_or(excess, |lean| excess.max(lean.saturating_sub(usable)));
        let users = context.usage.of(&judged.namespace);
        let mut warnings = Vec::new();
        warnings.push(format!("back up everything in it ({} at most): it is destroyed", Bytes(usable)));
        let panics = usable == 0 && judged.facts.enabled && context.host.allows_empty != Some(false);
        let target = if panics { Err(PANICS.to_owned()) } else { target(judged, region, &geometry) };
        let target = target.map_err(|why| warnings.push(why)).ok();
        if target.is_some() && !begins_as_ndctl_wants(judged) {
            warnings.push(format!(
                "no commands to rebuild it: ndctl refuses a namespace that does not begin at a multiple of {}",
                Bytes(NDCTL_START_ALIGN)
            ));
        }
        Some(Self {
            namespace: judged.namespace.name.clone(),
            mode: judged.mode(),
            map: map_name(geometry.map),
            size_bytes: size,
            usable_bytes: usable,
            excess_bytes: returned,
            gain_on_this_kernel_bytes: gain(&geometry, usable, context),
            cause: judged.assessment.detail.clone(),
            in_use: !users.is_empty(),
            users,
            warnings,
            ways: ways(judged, target.as_ref(), &geometry, context),
        })
    }
}

/// Seen on 6.1.176, for fsdax: memunmap_pages.
const PANICS: &str = "no commands: nothing is usable on it, and a kernel before 6.6 can panic when it is disabled; boot a later one, \
                      which does not enable it, and destroy it there";

/// What the commands need; an error is the reason why there are none.
fn target<'a>(
    judged: &'a AssessedNamespace,
    region: Option<&'a Region>,
    geometry: &Geometry,
) -> Result<PlanTarget<'a>, String> {
    if let Some(region) = region.filter(|region| region.read_only == Ok(true)) {
        return Err(format!("no commands: {} is read-only", region.name));
    }
    let (size, align, ways) = (geometry.size, geometry.align, region.map_or(1, Region::ways));
    let identified = commands::identity(judged, size).zip(commands::block_identity(judged));
    let (identity, block) = identified.ok_or_else(|| {
        "no commands: nothing that only root can read would show later that it is still the same: run `plan` as root"
            .to_owned()
    })?;
    let region_align = commands::region_align(size, ways, geometry.page_size).ok_or_else(|| {
        format!("no commands: ndctl would refuse a size of {size} bytes with any align of the region")
    })?;
    let rules = SizeRules { align, region_align, ways };
    match place::apply(size, &rules).and_then(|outcome| outcome.refusal) {
        Some(refusal) => Err(format!("no commands: ndctl would refuse to rebuild it: {refusal}")),
        None => Ok(PlanTarget { judged, region, align, size, region_align, identity, block }),
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

/// Whether ndctl would rebuild it where it begins. Without root that is not known, and the commands look.
fn begins_as_ndctl_wants(judged: &AssessedNamespace) -> bool {
    judged.facts.start.is_none_or(|start| start.is_multiple_of(NDCTL_START_ALIGN))
}

fn gain(geometry: &Geometry, usable: u64, context: &PlanContext<'_>) -> Option<u64> {
    Some(usable_with(geometry, context.page_cost.bytes?)?.saturating_sub(usable))
}

fn ways(
    judged: &AssessedNamespace,
    target: Option<&PlanTarget<'_>>,
    geometry: &Geometry,
    context: &PlanContext<'_>,
) -> Vec<RebuildOption> {
    let reference = context.thresholds.reference_struct_page;
    let lean = usable_with(geometry, reference);
    let rebuilt = target.filter(|_| begins_as_ndctl_wants(judged));
    let rebuild = |title: String, usable: Option<u64>| {
        // A kernel before 6.6 would make it, and lose it to later ones.
        let rebuilt = rebuilt.filter(|_| usable.is_some());
        let title = if usable.is_none() { title + ": nothing usable would be left" } else { title };
        RebuildOption::new(title, usable, rebuilt, rebuilt.map(|target| commands::rebuild(target, geometry.map)))
    };
    match context.page_cost.bytes {
        Some(bytes) if bytes <= reference => {
            vec![rebuild("rebuild it under this kernel".to_owned(), usable_with(geometry, bytes))]
        }
        known => {
            let first = match known {
                Some(bytes) => format!(
                    "boot a kernel without the regression (this one reserves {bytes} bytes for each page), then rebuild"
                ),
                None => "rebuild it once `sudo pfnwatch kernel --running` reports 64 bytes for this kernel".to_owned(),
            };
            let mut ways = vec![rebuild(first, lean)];
            ways.extend(with_map_mem(judged, rebuilt, geometry, context));
            ways.extend(by_hand(judged, target, geometry, lean));
            ways
        }
    }
}

impl RebuildOption {
    fn new(title: String, usable_bytes: Option<u64>, target: Option<&PlanTarget<'_>>, block: Option<Block>) -> Self {
        let commands = target.zip(block.as_ref()).map(|(target, block)| block.lines(target)).unwrap_or_default();
        Self { title, usable_bytes, commands, block }
    }
}

/// The memmap in DRAM, whatever this kernel reserves.
fn with_map_mem(
    judged: &AssessedNamespace,
    target: Option<&PlanTarget<'_>>,
    geometry: &Geometry,
    context: &PlanContext<'_>,
) -> Option<RebuildOption> {
    if geometry.map == Map::Mem {
        return None;
    }
    let mem = Geometry { map: Map::Mem, ..*geometry };
    let host = &context.host;
    let reserved = reservation(&mem, 0, KernelQuirks::default()).ok();
    let cost = reserved.map_or_else(
        || format!("an unknown amount of DRAM{}", host.memmap_loss(false)),
        |reserved| cost_of_map_mem(&MappedNamespace::of(judged.facts.mode, &mem, &reserved), host),
    );
    let title = format!("under this kernel, with map=mem: {cost}");
    let block = target.map(|target| commands::rebuild(target, Map::Mem));
    Some(RebuildOption::new(title, usable_with(&mem, 0), target, block))
}

/// ndctl computes with its own 64 and from address 0, so the start must be a multiple of the align.
fn by_hand(
    judged: &AssessedNamespace,
    target: Option<&PlanTarget<'_>>,
    geometry: &Geometry,
    lean: Option<u64>,
) -> Option<RebuildOption> {
    let align = geometry.align.max(geometry.compat);
    let start = judged.facts.start?;
    if geometry.map != Map::Dev || !align.is_power_of_two() || start & (align - 1) != 0 {
        return None;
    }
    let title = "under any kernel, with an info block that ndctl writes (a debug facility of ndctl)".to_owned();
    let block = target.map(|target| commands::write_infoblock(target, start));
    Some(RebuildOption::new(title, lean, target, block))
}
