//! `pfnwatch predict`: what a namespace, or another mode of a device, would cost before it is made.

mod alternative;
pub(super) mod device;
pub(super) mod place;
pub(super) mod report;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use pfnwatch_common::{Geometry, Map};

use crate::cli::output::json::{Format, document};
use crate::cli::output::terminal::{self, Terminal};
use crate::config::ConfigArgs;
use crate::model::exit::{Exit, ExitContext};
use crate::model::facts::{KernelParameters, NamespaceMode};
use crate::model::inventory::Inventory;
use crate::model::kernel::KernelFacts;
use crate::model::units::{Bytes, parse_size};
use crate::os::paths::Paths;
use crate::sysfs::inventory::SysfsRoots;

use self::device::{DevicePrediction, WantedMode};
use self::place::{Placement, SizeRules};
use self::report::{Prediction, PredictionDocument};

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
  sudo pfnwatch predict --device dax0.0 --mode system-ram --memmap-on-memory

Exit codes: 0 nothing found; 1 error; 2 wrong usage; 3 this kernel would make it oversize.")]
pub struct Args {
    /// Size of the namespace; with --region, all that is free unless given
    #[arg(long, value_parser = parse_size, required_unless_present_any = ["region", "device"])]
    size: Option<u64>,
    /// Align of the pfn or dax device: 4K, 2M or 1G on x86; the kernel's default unless given, 2M with pages of 4K
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
    /// Bytes that the kernel reserves for each page, in place of what the running kernel tells
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
    /// Take the size as `ndctl create-namespace --size` does: refused where it does not fit the region's alignment
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
    let PageCost { bytes: max_struct_page, allows_empty, .. } = page_cost;
    let host = KernelParameters { max_struct_page, allows_empty, ..KernelParameters::from(&kernel) };
    let place = place(args, paths)?;
    let align = args.align.unwrap_or_else(|| default_align(host.page_size));
    let (size, notes) = size(args.ndctl_size, align, &place)?;
    let map = if args.map == MapArg::Dev { Map::Dev } else { Map::Mem };
    let mode = if args.mode == ModeArg::Fsdax { NamespaceMode::Fsdax } else { NamespaceMode::Devdax };
    let start = place.start.unwrap_or(0);
    let geometry = Geometry { start, size, align, map, page_size: host.page_size, compat: host.compat };
    let thresholds = args.config.read()?.thresholds();
    let mut prediction = Prediction {
        geometry,
        mode,
        start_known: place.start.is_some(),
        kernel,
        page_cost,
        rows: alternative::all(&geometry, mode, &host, &thresholds),
        notes,
        thresholds,
    };
    prediction.add_notes(&host);
    terminal::print(&match args.format {
        Format::Json => document(&PredictionDocument::from(&prediction))?,
        _ => prediction.table(Terminal::stdout()),
    })?;
    Ok(if prediction.is_oversize() { Exit::Findings } else { Exit::Success })
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
    let told = crate::image::max_struct_page::RunningKernel::gather(paths, &kernel.release, Vec::new());
    let bytes = told.resolved.agreed().map(|max| max.effective(told.override_set == Some(true)));
    let evidence = match &told.resolved.best {
        Some(_) if bytes.is_none() => {
            "the evidence contradicts itself: `pfnwatch kernel --running` shows it".to_owned()
        }
        Some(best) => best.source.to_string(),
        None if told.problems.is_empty() => "nothing on this host tells".to_owned(),
        None => told.problems.join("; "),
    };
    PageCost { bytes, evidence, allows_empty: told.allows_empty }
}

fn place(args: &Args, paths: &Paths) -> anyhow::Result<Placement> {
    if let Some(region) = &args.region {
        let inventory = Inventory::read(&SysfsRoots::from(paths))?;
        return place::find(&inventory, region, args.size);
    }
    let size = args.size.context(ExitContext::usage("--size is needed: `pfnwatch predict --size 1TiB`"))?;
    Ok(Placement { start: args.start, size, region_align: None, ways: 1 })
}

fn size(as_ndctl: bool, align: u64, place: &Placement) -> anyhow::Result<(u64, Vec<String>)> {
    if !as_ndctl {
        return Ok((place.size, Vec::new()));
    }
    let mut notes = Vec::new();
    if place.region_align.is_none() {
        notes.push(format!(
            "--ndctl-size: a region with an align of {} and no interleaving",
            Bytes(DEFAULT_REGION_ALIGN)
        ));
    }
    let region_align = place.region_align.unwrap_or(DEFAULT_REGION_ALIGN);
    let rules = SizeRules { align, region_align, ways: place.ways };
    let outcome = place::apply(place.size, &rules)
        .context(ExitContext::usage(format!("ndctl takes no size from {} on with this align", Bytes(place.size))))?;
    if let Some(refusal) = outcome.refusal {
        notes.push(format!("ndctl refuses this size: {refusal}. The next that it takes is --size={}", outcome.size));
    }
    Ok((outcome.size, notes))
}

/// The size of a huge page, which one page of page table entries (8 bytes each) covers: 2 MiB for pages of 4 KiB.
const fn default_align(page_size: u64) -> u64 {
    page_size.saturating_mul(page_size / 8)
}

/// A size that is a power of two: kernels refuse others.
fn parse_align(text: &str) -> Result<u64, String> {
    let align = parse_size(text).map_err(|error| error.to_string())?;
    if align.is_power_of_two() { Ok(align) } else { Err(format!("`{text}` is no align: it must be a power of two")) }
}

/// An address: `4294967296`, `0x100000000`, `4G`.
fn parse_address(text: &str) -> Result<u64, String> {
    match text.strip_prefix("0x") {
        Some(hex) if hex.starts_with(|first: char| first.is_ascii_hexdigit()) => {
            u64::from_str_radix(hex, 16).map_err(|_| format!("`{text}` is no address of 64 bits"))
        }
        Some(_) => Err(format!("`{text}` is no address: it must be as 4294967296, 0x100000000 or 4G")),
        None => parse_size(text).map_err(|error| error.to_string()),
    }
}
