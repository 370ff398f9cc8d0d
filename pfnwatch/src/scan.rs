//! The inventory, joined with info blocks and kernel facts, and assessed: what `scan` reports and `plan` works on.

pub mod existing;
#[cfg(test)]
mod tests;

use crate::model::kernel::COMPAT_ALIGN;
use crate::model::scan_result::{AssessedNamespace, ScanResult};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

use anyhow::ensure;
use pfnwatch_common::InfoBlock;
use pfnwatch_common::layout::Layout;
use uuid::Uuid;

use crate::analysis::assess::assess;
use crate::analysis::memmap::device::of_device;
use crate::analysis::why::kernel_message::LoggedMessage;
use crate::analysis::why::log_failure::of_log;
use crate::bpf::block_reader::BlockReader;
use crate::kernel::features::privileges::Privileges;
use crate::model::control::ObservedBlock;
use crate::model::device::{AssessedDevice, DeviceTotals, MemoryDevice, MemoryHotplug};
use crate::model::facts::KernelParameters;
use crate::model::info_block::SavedInfoBlock;
use crate::model::inventory::{InfoBlocks, Inventory, Namespace};
use crate::model::kernel::{KernelFacts, MemmapCounter};
use crate::model::memmap_return::MemmapVerdict;
use crate::model::thresholds::Thresholds;
use crate::model::verdict::{NamespaceTotals, Verdict};
use crate::model::why::Finding;
use crate::os::control_client;
use crate::os::kernel_log::{KMSG, KernelLog, boot_time};
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
            memmap_return: MemmapVerdict::of_release(kernel.may_lose_memmap),
        }
    }
}

/// Whether the info blocks of enabled namespaces are read, which needs root and eBPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnabledBlocks {
    /// As the agent at this control socket has seen them; otherwise as for `Read`.
    AskAgent(PathBuf),
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
        let (mut blocks, blocks_problem) = info_blocks(paths, &inventory, &enabled);
        if inventory.namespaces.iter().any(Namespace::is_disabled) {
            blocks.add_saved(&inventory.namespaces, &saved());
            blocks.add_logged(&inventory.namespaces, &logged_failures(paths));
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
        let devices = assess_devices(inventory.devices, &inventory.hotplug, &host);
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

fn assess_devices(devices: Vec<MemoryDevice>, hotplug: &MemoryHotplug, host: &KernelParameters) -> Vec<AssessedDevice> {
    let assess = |device: MemoryDevice| AssessedDevice { memory: of_device(&device, hotplug, host), device };
    devices.into_iter().map(assess).collect()
}

/// The devices of an inventory that no namespace owns.
#[must_use]
pub fn devices(inventory: Inventory, kernel: &KernelFacts) -> Vec<AssessedDevice> {
    assess_devices(inventory.devices, &inventory.hotplug, &KernelParameters::from(kernel))
}

/// The info blocks of an inventory, and why those of enabled namespaces are missing, if they were asked for.
pub fn info_blocks(paths: &Paths, inventory: &Inventory, enabled: &EnabledBlocks) -> (InfoBlocks, Option<String>) {
    let roots = SysfsRoots::from(paths);
    let mut blocks = inventory.blocks_on_raw_devices(&roots);
    // Another host's sysfs has another kernel's devices: there is nothing to ask this one.
    let layout = match enabled {
        EnabledBlocks::ReadBy(layout) => Some(*layout),
        EnabledBlocks::AskAgent(_) | EnabledBlocks::Read | EnabledBlocks::Skip => None,
    };
    let ask = *enabled != EnabledBlocks::Skip && paths.is_own_sysfs();
    if let EnabledBlocks::AskAgent(socket) = enabled
        && ask
        && inventory.namespaces.iter().any(|namespace| namespace.block_in_use().is_some())
    {
        add_observed(&control_client::info_blocks(socket).unwrap_or_default(), inventory, &mut blocks);
    }
    let problem = ask.then(|| read_enabled(paths, layout, inventory, &mut blocks).err()).flatten();
    (blocks, problem.map(|error| format!("{error:#}")))
}

/// Adds the blocks that namespaces are enabled with, as the agent saw them.
fn add_observed(observed: &[ObservedBlock], inventory: &Inventory, blocks: &mut InfoBlocks) {
    let observed: BTreeMap<u64, &ObservedBlock> = observed.iter().map(|it| (it.start_address, it)).collect();
    for namespace in &inventory.namespaces {
        let Some((start, uuid)) = namespace.block_in_use() else { continue };
        let Some(bytes) = observed.get(&start).and_then(|observed| observed.bytes()) else { continue };
        // Signature and checksum are compared as well.
        if InfoBlock::from_block(bytes.as_slice()).is_ok_and(|block| Uuid::from_bytes(block.uuid) == uuid) {
            blocks.insert(&namespace.name, *bytes);
        }
    }
}

/// What the kernel logged of namespaces in this boot; nothing if the log cannot be read.
fn logged_failures(paths: &Paths) -> Vec<Finding> {
    let log =
        paths.is_own_sysfs().then(|| KernelLog::read(Path::new(KMSG), |text| LoggedMessage::parse(text).is_some()));
    let log = log.and_then(Result::ok).unwrap_or_default();
    of_log(&log.records, boot_time(SystemTime::now()))
}

/// Adds the blocks of enabled namespaces that are not known yet. If a block cannot be read, sysfs is used for that namespace.
fn read_enabled(
    paths: &Paths,
    layout: Option<Layout>,
    inventory: &Inventory,
    blocks: &mut InfoBlocks,
) -> anyhow::Result<()> {
    let enabled = inventory.namespaces.iter().filter_map(Namespace::enabled_under);
    let unknown: Vec<_> = enabled.filter(|(namespace, _)| blocks.raw(namespace).is_none()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    // A command reports it in words before the kernel answers EPERM to the first map; the agent has what it needs.
    let own = layout.is_none().then(|| Privileges::read(Path::new("/proc"))).flatten();
    let lacking = own.map(Privileges::missing).unwrap_or_default();
    ensure!(lacking.is_empty(), "this process lacks {} (root has them)", lacking.join(" and "));
    let mut reader = BlockReader::attach(paths, layout)?;
    for (namespace, device) in unknown {
        if let Ok(Some(block)) = reader.read(device) {
            blocks.insert(namespace, *block);
        }
    }
    Ok(())
}
