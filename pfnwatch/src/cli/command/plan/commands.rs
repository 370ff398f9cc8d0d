//! The commands of a rebuild: a block for the shell that is safe to paste, with what a person does before and after it.
//!
//! The block is one subshell: the shell reads it to its end before it runs any of it, and a check that fails ends it
//! without closing the shell. [`CHECKS`] has the checks.

use pfnwatch_common::Map;

use crate::model::facts::{NamespaceMode, map_name};
use crate::model::inventory::Region;
use crate::model::scan_result::AssessedNamespace;

/// The functions that the blocks call, for any POSIX shell.
pub(super) const CHECKS: &str = include_str!("checks.sh");

/// Sizes of namespaces are a multiple of this many bytes for each DIMM, unless somebody sets another align
/// (`nd_region_create()` in drivers/nvdimm/region_devs.c).
const DEFAULT_REGION_ALIGN: u64 = 16 << 20;

pub(super) struct PlanTarget<'a> {
    pub(super) judged: &'a AssessedNamespace,
    pub(super) region: Option<&'a Region>,
    /// The align to keep, in bytes.
    pub(super) align: u64,
    pub(super) size: u64,
    /// The align that the region needs for ndctl to accept the size, in bytes.
    pub(super) region_align: u64,
    /// What identifies the namespace later, as attributes of sysfs: `uuid=…`.
    pub(super) identity: String,
    /// What identifies its info block, as `block=…`.
    pub(super) block: String,
}

/// What the shell runs.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) checks: Vec<String>,
    pub(super) actions: Vec<String>,
}

impl Block {
    /// The lines of the block, with those for a person around it.
    pub(super) fn lines(&self, target: &PlanTarget<'_>) -> Vec<String> {
        let name = &target.judged.namespace.name;
        let device = target.device();
        let mut lines = vec![format!("# back up what is in /dev/{device}"), "( set -eu".to_owned()];
        lines.extend(self.checks.iter().chain(&self.actions).cloned());
        lines.extend([
            ")".to_owned(),
            format!("pfnwatch scan --format json | jq '.namespaces[] | select(.namespace == \"{name}\") | .verdict'"),
            format!("# restore to /dev/{device}, which is larger now"),
        ]);
        lines
    }
}

/// Without `--force`, which skips its check for users as well, ndctl rebuilds only a namespace that begins at a multiple of so many
/// bytes (`check_dax_align` in ndctl/namespace.c, 81).
pub(super) const NDCTL_START_ALIGN: u64 = 16 << 20;

/// Destroys the old block and has the kernel make a new one.
pub(super) fn rebuild(target: &PlanTarget<'_>, map: Map) -> Block {
    let namespace = &target.judged.namespace.name;
    let mut block = target.block_for();
    block.checks.push(format!("pfnwatch_begins {namespace}"));
    if map == Map::Dev {
        block.checks.push("pfnwatch_good_kernel".to_owned());
    }
    block.actions.extend([
        target.same(&target.identity),
        format!(
            "ndctl create-namespace --reconfig={namespace} --mode={} --map={} --align={}{}",
            target.judged.mode(),
            map_name(map),
            target.align,
            target.no_autolabel()
        ),
        "pfnwatch_align_back".to_owned(),
    ]);
    block
}

/// Writes a block that reserves 64 bytes for each page, which every kernel accepts. The namespace gets another uuid on
/// the way, so that it is identified by its `start`.
pub(super) fn write_infoblock(target: &PlanTarget<'_>, start: u64) -> Block {
    let namespace = &target.judged.namespace.name;
    let mode = target.judged.mode();
    let same = target.same(&at(start, target.size));
    let mut block = target.block_for();
    block.actions.extend([
        same.clone(),
        format!("ndctl create-namespace --reconfig={namespace} --mode=raw{}", target.no_autolabel()),
        format!("ndctl disable-namespace {namespace}"),
        same,
        format!("ndctl write-infoblock --mode={mode} --map=dev --align={} {namespace}", target.align),
        format!("ndctl enable-namespace {namespace}"),
        "pfnwatch_align_back".to_owned(),
    ]);
    block
}

fn at(start: u64, size: u64) -> String {
    format!("resource={start:#x} size={size}")
}

/// What identifies a namespace in another boot, under another name: its uuid, or where it lies. `None` without both.
pub(super) fn identity(judged: &AssessedNamespace, size: u64) -> Option<String> {
    let uuid = judged.namespace.uuid.as_ref().ok().filter(|uuid| !uuid.is_nil());
    uuid.map(|uuid| format!("uuid={uuid} size={size}")).or_else(|| Some(at(judged.facts.start?, size)))
}

/// What identifies its info block: the uuid of its holder, or that on the media of a raw namespace.
pub(super) fn block_identity(judged: &AssessedNamespace) -> Option<String> {
    if let Ok(holder) = &judged.namespace.holder {
        return holder.uuid.as_ref().ok().map(|uuid| format!("block={uuid}"));
    }
    let block = judged.facts.block.as_ref()?;
    let digits: String = block.uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("media:{}={digits}", judged.namespace.disk()?))
}

/// The align of the region that suits `size`: the default one, or the largest below it. `None` if there is none, so that
/// ndctl refuses the size whatever the align is.
pub(super) fn region_align(size: u64, ways: u64, page_size: u64) -> Option<u64> {
    let share = size.checked_div(ways).filter(|share| *share > 0 && share.checked_mul(ways) == Some(size))?;
    let power = (1 << share.trailing_zeros()).min(DEFAULT_REGION_ALIGN);
    (power >= page_size).then(|| power.saturating_mul(ways))
}

impl PlanTarget<'_> {
    /// The checks, and what every rebuild begins with.
    fn block_for(&self) -> Block {
        let (namespace, region) = (&self.judged.namespace.name, &self.judged.namespace.region);
        let seed = if self.is_dax() { "dax" } else { "pfn" };
        let checks = vec![
            self.same(&format!("{} {}", self.identity, self.block)),
            format!("pfnwatch_unused {}", self.device()),
            format!("pfnwatch_offered {region} {seed} {}", self.align),
        ];
        let actions = vec![
            format!("pfnwatch_align {region} {} {}", self.size, self.region_align),
            format!("ndctl disable-namespace {namespace}"),
            format!("ndctl read-infoblock {namespace} --output={namespace}.infoblock"),
        ];
        Block { checks, actions }
    }

    fn same(&self, attributes: &str) -> String {
        format!("pfnwatch_same {} {attributes}", self.judged.namespace.name)
    }

    /// The device that users see, without `/dev/`.
    fn device(&self) -> String {
        let namespace = &self.judged.namespace;
        // A block for devdax that lies on a raw namespace has a disk.
        let character = namespace.holder.is_ok() && self.is_dax();
        let name = if character { namespace.character_device() } else { namespace.disk() };
        name.unwrap_or_default()
    }

    fn is_dax(&self) -> bool {
        self.judged.facts.mode == NamespaceMode::Devdax
    }

    /// Without labels, ndctl must not write any by itself: the namespace's name would change.
    fn no_autolabel(&self) -> &'static str {
        if self.region.is_some_and(Region::is_label_less) { " --no-autolabel" } else { "" }
    }
}
