//! The inventory, joined with info blocks and kernel facts, and assessed: what `scan` reports and `plan` works on.

pub mod existing;
#[cfg(test)]
mod tests;

use crate::model::kernel::COMPAT_ALIGN;
use crate::model::scan_result::{AssessedNamespace, ScanResult};
use std::path::Path;
use std::thread;

use anyhow::ensure;
use pfnwatch_common::layout::Layout;

use crate::analysis::assess::assess;
use crate::analysis::memmap::device::of_device;
use crate::bpf::block_reader::BlockReader;
use crate::kernel::features::privileges::Privileges;
use crate::model::device::{AssessedDevice, DeviceTotals, MemoryDevice};
use crate::model::facts::KernelParameters;
use crate::model::info_block::SavedInfoBlock;
use crate::model::inventory::{InfoBlocks, Inventory, Namespace};
use crate::model::kernel::{KernelFacts, MemmapCounter};
use crate::model::thresholds::Thresholds;
use crate::model::verdict::{NamespaceTotals, Verdict};
use crate::os::paths::Paths;
use crate::sysfs::inventory::usage::Usage;
use crate::sysfs::inventory::{SysfsRoots, facts};

impl From<&KernelFacts> for KernelParameters {
    /// Without what the kernel's code shows, which takes too long to read for a scan.
    fn from(kernel: &KernelFacts) -> Self {
        Self {
            page_size: kernel.page_size,
            compat: COMPAT_ALIGN,
            struct_page: kernel.struct_page_size,
            max_struct_page: None,
            allows_empty: kernel.allows_empty,
            aligns: kernel.aligns,
            deduplicates: kernel.deduplicates,
            may_lose_memmap: kernel.may_lose_memmap,
        }
    }
}

/// Whether the info blocks of enabled namespaces are read, which needs root and eBPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnabledBlocks {
    /// From the kernel's memory, if this host allows it; else only sysfs is used.
    Read,
    ReadBy(Layout),
    Skip,
}

impl ScanResult {
    /// `saved` reads the blocks that were seen earlier, the newest first: it is called if a namespace is disabled.
    pub fn run(
        paths: &Paths,
        enabled: EnabledBlocks,
        saved: impl FnOnce() -> Vec<SavedInfoBlock>,
        thresholds: &Thresholds,
    ) -> anyhow::Result<Self> {
        let roots = SysfsRoots::from(paths);
        // BTF has 5 MB: it is read while sysfs is.
        let (kernel, inventory) = thread::scope(|scope| {
            let gather = || KernelFacts::gather(paths, None);
            let kernel = thread::Builder::new().spawn_scoped(scope, gather);
            let inventory = Inventory::read(&roots);
            // Where no thread can be had, or it ended badly, it is done here.
            (kernel.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(gather), inventory)
        });
        let inventory = inventory?;
        let (mut blocks, blocks_problem) = info_blocks(paths, &inventory, enabled);
        if inventory.namespaces.iter().any(Namespace::is_disabled) {
            blocks.add_saved(&inventory.namespaces, &saved());
        }
        let kernel = kernel?;
        let memmap_counter = MemmapCounter::read(paths, &kernel);
        let scan = Self::assess(inventory, &blocks, kernel, thresholds);
        Ok(Self { memmap_counter, blocks_problem, ..scan })
    }

    /// Looks who uses the oversize namespaces: a rebuild has to wait for these.
    pub fn find_users(&mut self, roots: &SysfsRoots) {
        let mut oversize =
            self.namespaces.iter_mut().filter(|judged| judged.assessment.verdict == Verdict::Oversize).peekable();
        // All processes are asked: only if there is a reason.
        if oversize.peek().is_some() {
            let usage = Usage::gather(roots);
            oversize.for_each(|judged| judged.users = Some(usage.of(&judged.namespace)));
        }
    }

    #[must_use]
    pub fn assess(inventory: Inventory, blocks: &InfoBlocks, kernel: KernelFacts, thresholds: &Thresholds) -> Self {
        let host = KernelParameters::from(&kernel);
        let host = KernelParameters { aligns: inventory.aligns().or(host.aligns), ..host };
        let mut totals = NamespaceTotals::default();
        let judge = |namespace| {
            let facts = facts::facts(&namespace, blocks);
            let assessment = assess(&facts, &host, thresholds);
            totals.add(&assessment);
            AssessedNamespace { namespace, facts, assessment, users: None }
        };
        let namespaces = inventory.namespaces.into_iter().map(judge).collect();
        let weigh = |device: MemoryDevice| {
            let memory = of_device(&device, &inventory.hotplug, &host);
            AssessedDevice { device, memory }
        };
        let devices: Vec<_> = inventory.devices.into_iter().map(weigh).collect();
        let verdict = totals.verdict(thresholds);
        Self {
            kernel,
            regions: inventory.regions,
            namespaces,
            totals,
            device_totals: DeviceTotals::of(&devices),
            devices,
            verdict,
            memmap_counter: None,
            blocks_problem: None,
        }
    }
}

/// The info blocks of an inventory, and why those of enabled namespaces are missing, if they were asked for.
pub fn info_blocks(paths: &Paths, inventory: &Inventory, enabled: EnabledBlocks) -> (InfoBlocks, Option<String>) {
    let roots = SysfsRoots::from(paths);
    let mut blocks = inventory.blocks_on_raw_devices(&roots);
    // Another host's sysfs has another kernel's devices: there is nothing to ask this one.
    let layout = match enabled {
        EnabledBlocks::ReadBy(layout) => Some(layout),
        EnabledBlocks::Read | EnabledBlocks::Skip => None,
    };
    let ask = enabled != EnabledBlocks::Skip && paths.is_own_sysfs();
    let problem = ask.then(|| read_enabled(paths, layout, inventory, &mut blocks).err()).flatten();
    (blocks, problem.map(|error| format!("{error:#}")))
}

/// Adds the blocks of enabled namespaces. If a block cannot be read, sysfs is used for that namespace.
fn read_enabled(
    paths: &Paths,
    layout: Option<Layout>,
    inventory: &Inventory,
    blocks: &mut InfoBlocks,
) -> anyhow::Result<()> {
    let mut bound = inventory.namespaces.iter().filter_map(Namespace::enabled_under).peekable();
    if bound.peek().is_none() {
        return Ok(());
    }
    // A command reports it in words before the kernel answers EPERM to the first map; the agent has what it needs.
    let own = layout.is_none().then(|| Privileges::read(Path::new("/proc"))).flatten();
    let lacking = own.map(Privileges::missing).unwrap_or_default();
    ensure!(lacking.is_empty(), "this process lacks {} (root has them)", lacking.join(" and "));
    let mut reader = BlockReader::attach(paths, layout)?;
    for (namespace, device) in bound {
        if let Ok(Some(block)) = reader.read(device) {
            blocks.insert(namespace, *block);
        }
    }
    Ok(())
}
