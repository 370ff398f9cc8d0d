//! `pfnwatch predict`: what a namespace, or another mode of a device, would cost before it is made.

mod alternative;
pub(super) mod device;
mod inverse;
pub(super) mod place;
pub(super) mod report;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use pfnwatch_common::{Geometry, Map};

use crate::cli::output::json::{Format, document};
use crate::cli::output::terminal::{self, Terminal};
use crate::config::ConfigArgs;
use crate::image::max_struct_page::RunningKernel;
use crate::image::memmap_return::verdict_of_running;
use crate::model::exit::{Exit, ExitContext};
use crate::model::facts::{KernelParameters, NamespaceMode};
use crate::model::inventory::Inventory;
use crate::model::kernel::KernelFacts;
use crate::model::units::{Bytes, parse_size};
use crate::os::paths::Paths;
use crate::sysfs::inventory::SysfsRoots;

use self::device::{DevicePrediction, WantedMode};
use self::place::{Site, SizeRules};
use self::report::{Pieces, Prediction, PredictionDocument};

/// Align of most hosts' regions (MEMREMAP_COMPAT_ALIGN_MAX, include/linux/io.h).
const DEFAULT_REGION_ALIGN: u64 = 16 << 20;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch predict --size 1TiB                       fsdax, map=dev, align 2M
  pfnwatch predict --size 1TiB --map mem --mode devdax --align 1G
  pfnwatch predict --size 1TiB --max-struct-page 128   as a kernel with the regression would do it
  sudo pfnwatch predict --region region0             all that is free there
  pfnwatch predict --region region0 --size 100GiB --ndctl-size
  sudo pfnwatch predict --region region0 --usable 1500GiB   the size to type, so that this much can be stored
  sudo pfnwatch predict --region region0 --percent 50       half of what is free
  sudo pfnwatch predict --region region0 --pieces-of 1GiB   how many aligned pieces can be used
  sudo pfnwatch predict --device dax0.0 --mode system-ram --memmap-on-memory

Exit codes: 0 nothing found; 1 error; 2 wrong usage; 3 this kernel would make it oversize,
or with nothing usable.")]
pub struct Args {
    /// Size of the namespace; with --region, all that is free unless given
    #[arg(long, value_parser = parse_size, required_unless_present_any = ["region", "usable", "device"])]
    size: Option<u64>,
    /// Find the size to type, so that at least this much can be stored
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with_all = ["size", "percent"])]
    usable: Option<u64>,
    /// Find the size to type for this share of what is free in the region
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100), requires = "region",
          conflicts_with = "size")]
    percent: Option<u64>,
    /// Count the usable pieces of this size, each at a multiple of it (for huge pages, or to divide it among guests)
    #[arg(long, value_name = "SIZE", value_parser = parse_align)]
    pieces_of: Option<u64>,
    /// Align of the pfn or dax device: one that this kernel offers (4K, 2M, 1G on x86); its default unless given, 2M with pages of 4K
    #[arg(long, value_parser = parse_align)]
    align: Option<u64>,
    /// Where the memmap is to live: on the persistent memory (dev) or in DRAM (mem)
    #[arg(long, value_enum, default_value_t = MapArg::Dev)]
    map: MapArg,
    /// fsdax or devdax: the reservation is the same, the DRAM for map=mem is not; with --device: devdax or system-ram
    #[arg(long, value_enum, default_value_t = ModeArg::Fsdax)]
    mode: ModeArg,
    /// Physical address of the namespace's first byte, decimal or 0x…; an aligned one unless given
    #[arg(long, value_name = "ADDR", value_parser = parse_address, conflicts_with = "region")]
    start: Option<u64>,
    /// Compute with BYTES reserved for each page, instead of the running kernel's
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=4096))]
    max_struct_page: Option<u64>,
    /// Take start, free space and alignment from a region of this host
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Predict what another mode of this device of the dax bus would cost, such as dax0.0; system RAM needs root
    #[arg(long, value_name = "NAME", requires = "mode", conflicts_with_all = ["size", "align", "map", "start", "max_struct_page", "region", "ndctl_size"])]
    device: Option<String>,
    /// With --device and --mode system-ram: have the memmap on the device
    #[arg(long, requires = "device")]
    memmap_on_memory: bool,
    /// Treat the size as `ndctl create-namespace --size` does: refuse it if it does not fit the region's alignment
    #[arg(long)]
    ndctl_size: bool,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Which configuration
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MapArg {
    /// On the persistent memory itself
    Dev,
    /// In DRAM
    Mem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    /// A block device with DAX
    Fsdax,
    /// A character device with DAX
    Devdax,
    /// System RAM, for a device
    SystemRam,
}

/// What one kernel reserves for each page, and how that is known.
#[derive(Clone, Debug)]
pub(super) struct PageCost {
    /// In bytes.
    pub(super) bytes: Option<u64>,
    /// The evidence, or why there is none; for people.
    pub(super) evidence: String,
    /// Whether it writes a block that leaves nothing usable.
    pub(super) allows_empty: Option<bool>,
}

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    let kernel = KernelFacts::gather(paths, None)?;
    if let Some(name) = &args.device {
        return predict_device(args, name, paths, &KernelParameters::from(&kernel));
    }
    anyhow::ensure!(args.mode != ModeArg::SystemRam, ExitContext::usage("--mode system-ram is for a --device"));
    let page_cost = page_cost(args.max_struct_page, paths, &kernel);
    let host = parameters(&page_cost, paths, &kernel);
    // Only a region has to be there.
    let inventory = match Inventory::read(&SysfsRoots::from(paths)) {
        Err(error) if args.region.is_some() => return Err(error),
        inventory => inventory.unwrap_or_default(),
    };
    let host = KernelParameters { aligns: inventory.aligns().or(host.aligns), ..host };
    let site = match &args.region {
        Some(region) => Site::in_region(&inventory, region)?,
        None => Site::anywhere(args.start),
    };
    let align = align(args.align, &host, &site)?;
    let map = if args.map == MapArg::Dev { Map::Dev } else { Map::Mem };
    let mode = if args.mode == ModeArg::Fsdax { NamespaceMode::Fsdax } else { NamespaceMode::Devdax };
    let template = Geometry { start: 0, size: 0, align, map, page_size: host.page_size, compat: host.compat };
    let (size, notes) = size(args, &site, &template, &host)?;
    let start = site.start_of(size);
    let geometry = Geometry { start: start.unwrap_or(0), size, ..template };
    let thresholds = args.config.read()?.thresholds();
    let mut prediction = Prediction {
        geometry,
        mode,
        start_known: start.is_some(),
        kernel,
        page_cost,
        rows: alternative::all(&geometry, mode, &host, &thresholds),
        notes,
        thresholds,
        pieces: None,
    };
    prediction.pieces = args.pieces_of.and_then(|bytes| Pieces::of(bytes, &prediction));
    prediction.add_notes(&host);
    terminal::print(&match args.format {
        Format::Json => document(&PredictionDocument::from(&prediction))?,
        _ => prediction.table(Terminal::stdout()),
    })?;
    Ok(if prediction.is_oversize() || prediction.is_empty() { Exit::Findings } else { Exit::Success })
}

/// The align that ndctl takes, if the kernel offers it.
fn align(wanted: Option<u64>, host: &KernelParameters, site: &Site) -> anyhow::Result<u64> {
    let offers = |align| host.aligns.is_none_or(|offered| offered.contains(align));
    if let Some(align) = wanted {
        if let Some(offered) = host.aligns.filter(|offered| !offered.contains(align)) {
            bail!(ExitContext::usage(format!("align {}: this kernel offers {offered}", Bytes(align))));
        }
        return Ok(align);
    }
    let usual = default_align(host.page_size);
    // Where the region does not begin at a multiple of it, ndctl takes a page.
    let fits = site.region_start.is_none_or(|start| start.is_multiple_of(usual));
    Ok(if offers(usual) && fits { usual } else { host.page_size })
}

/// The size of the namespace, with notes on it.
fn size(args: &Args, site: &Site, template: &Geometry, host: &KernelParameters) -> anyhow::Result<(u64, Vec<String>)> {
    let region_align = site.region_align.unwrap_or(DEFAULT_REGION_ALIGN);
    let rules = SizeRules { align: template.align, region_align, ways: site.ways };
    let mut notes = Vec::new();
    if site.region_align.is_none() && (args.ndctl_size || args.usable.is_some()) {
        let assumed = format!("a region with an align of {} and no interleaving", Bytes(DEFAULT_REGION_ALIGN));
        notes.push(format!("sizes are those that ndctl accepts of {assumed}"));
    }
    if let Some(usable) = args.usable {
        let unknown = "what this kernel reserves for each page is not known: run as root, or give --max-struct-page";
        let known = if template.map == Map::Mem { Some(0) } else { host.max_struct_page };
        let size = site.size_for_usable(usable, template, known.context(unknown)?, &rules)?;
        notes.push(format!("the size to type is --size={size}, for {} usable", Bytes(usable)));
        return Ok((size, notes));
    }
    if let Some(percent) = args.percent {
        let size = site.percent(percent, &rules)?;
        notes.push(format!("the size to type is --size={size}, {percent} % of what is free"));
        return Ok((size, notes));
    }
    let size = site.size(args.size)?;
    if !args.ndctl_size {
        return Ok((size, notes));
    }
    let outcome = site.as_ndctl(size, &rules)?;
    if let Some(refusal) = outcome.refusal {
        let which = if outcome.size > size { "next" } else { "largest" };
        notes.push(format!(
            "ndctl refuses this size: {refusal}. The {which} that it accepts is --size={}",
            outcome.size
        ));
    }
    Ok((outcome.size, notes))
}

fn predict_device(args: &Args, name: &str, paths: &Paths, host: &KernelParameters) -> anyhow::Result<Exit> {
    let wanted = match args.mode {
        ModeArg::SystemRam => WantedMode::SystemRam { memmap_on_memory: args.memmap_on_memory },
        ModeArg::Devdax if !args.memmap_on_memory => WantedMode::Devdax,
        ModeArg::Devdax | ModeArg::Fsdax => {
            bail!(ExitContext::usage("a --device is devdax, or system-ram with or without --memmap-on-memory"))
        }
    };
    let inventory = Inventory::read(&SysfsRoots::from(paths))?;
    let prediction = DevicePrediction::of(name, wanted, &inventory, host)?;
    terminal::print(&match args.format {
        Format::Json => document(&prediction)?,
        Format::Table => prediction.table(),
    })?;
    Ok(Exit::Success)
}

/// What the running kernel reserves for each page, unless the caller gives a number.
pub(super) fn page_cost(given: Option<u64>, paths: &Paths, kernel: &KernelFacts) -> PageCost {
    if let Some(bytes) = given {
        return PageCost {
            bytes: Some(bytes),
            evidence: "as given by --max-struct-page".to_owned(),
            allows_empty: None,
        };
    }
    let running = RunningKernel::gather(paths, &kernel.release, Vec::new());
    let bytes = running.resolved.agreed().map(|max| max.effective(running.override_set == Some(true)));
    let evidence = match &running.resolved.best {
        Some(_) if bytes.is_none() => {
            "the evidence contradicts itself: `pfnwatch kernel --running` shows it".to_owned()
        }
        Some(best) => best.source.to_string(),
        None if running.problems.is_empty() => "nothing on this host shows it".to_owned(),
        None => running.problems.join("; "),
    };
    PageCost { bytes, evidence, allows_empty: running.allows_empty }
}

/// What is known of the running kernel, its code included.
pub(super) fn parameters(page_cost: &PageCost, paths: &Paths, kernel: &KernelFacts) -> KernelParameters {
    let facts = KernelParameters::from(kernel);
    KernelParameters {
        max_struct_page: page_cost.bytes,
        allows_empty: page_cost.allows_empty.or(facts.allows_empty),
        memmap_return: verdict_of_running(paths, kernel.may_lose_memmap),
        ..facts
    }
}

/// The size of a huge page, which one page of page table entries (8 bytes each) covers: 2 MiB for pages of 4 KiB.
const fn default_align(page_size: u64) -> u64 {
    page_size.saturating_mul(page_size / 8)
}

/// A size that is a power of two: kernels refuse others.
fn parse_align(text: &str) -> Result<u64, String> {
    let align = parse_size(text).map_err(|error| error.to_string())?;
    if align.is_power_of_two() {
        Ok(align)
    } else {
        Err(format!("`{text}` is not an align: it must be a power of two"))
    }
}

/// An address: `4294967296`, `0x100000000`, `4G`.
fn parse_address(text: &str) -> Result<u64, String> {
    match text.strip_prefix("0x") {
        Some(hex) if hex.starts_with(|first: char| first.is_ascii_hexdigit()) => {
            u64::from_str_radix(hex, 16).map_err(|_| format!("`{text}` is not a 64-bit address"))
        }
        Some(_) => Err(format!("`{text}` is not an address: write 4294967296, 0x100000000 or 4G")),
        None => parse_size(text).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::memmap_free::tests::{not_returning, returning};
    use crate::image::memmap_return::tests::{START, host};

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn what_is_lost_goes_by_the_code_and_else_by_the_release() {
        let loss = |paths: &Paths, may_lose_memmap| {
            let kernel = KernelFacts { may_lose_memmap, ..KernelFacts::sample() };
            parameters(&page_cost(Some(64), paths, &kernel), paths, &kernel).memmap_loss(false)
        };
        let (_folder, fixed) = host(&returning(START));
        let (folder, loses) = host(&not_returning(START));
        for is_suspected in [false, true] {
            assert_eq!(loss(&fixed, is_suspected), "");
            assert!(loss(&loses, is_suspected).starts_with(" (this kernel loses that DRAM"));
        }
        std::fs::remove_file(folder.path().join("proc/kcore")).unwrap();
        assert!(loss(&loses, true).starts_with(" (this kernel is suspected to lose that DRAM"));
        assert_eq!(loss(&loses, false), "");
    }
}
