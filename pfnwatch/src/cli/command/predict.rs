//! `pfnwatch predict`: what a namespace would cost, before it is made.

mod alternative;
mod ndctl_size;
mod place;

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use pfnwatch_common::{Geometry, Map};
use serde::Serialize;

use self::alternative::{Alternative, PredictedOutcome};
use self::ndctl_size::SizeRules;
use self::place::Placement;
use crate::cli::output::bar::{self, BarPart};
use crate::cli::output::json::{Format, document};
use crate::cli::output::terminal::{self, Terminal};
use crate::config::ConfigArgs;
use crate::model::exit::{Exit, ExitContext};
use crate::model::facts::{KernelParameters, NamespaceMode, map_name};
use crate::model::inventory::Inventory;
use crate::model::kernel::KernelFacts;
use crate::model::thresholds::Thresholds;
use crate::model::units::{Bytes, parse_size};
use crate::os::paths::Paths;
use crate::sysfs::inventory::SysfsRoots;

/// Align of most hosts' regions (MEMREMAP_COMPAT_ALIGN_MAX, include/linux/io.h).
const DEFAULT_REGION_ALIGN: u64 = 16 << 20;

/// Options of `pfnwatch predict`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch predict --size 1TiB                       fsdax, map=dev, align 2M
  pfnwatch predict --size 1TiB --map mem --mode devdax --align 1G
  pfnwatch predict --size 1TiB --max-struct-page 128   as a kernel with the regression would do it
  sudo pfnwatch predict --region region0             all that is free there
  pfnwatch predict --region region0 --size 100GiB --ndctl-size

Exit codes: 0 nothing found; 1 error; 2 wrong usage; 3 this kernel would make it oversize.")]
pub struct Args {
    /// Size of the namespace; with --region, all that is free unless given
    #[arg(long, value_parser = parse_size, required_unless_present = "region")]
    size: Option<u64>,
    /// Align of the pfn or dax device: 4K, 2M or 1G on x86; the kernel's default unless given, 2M with pages of 4K
    #[arg(long, value_parser = parse_align)]
    align: Option<u64>,
    /// Where the memmap is to live: on the persistent memory (dev) or in DRAM (mem)
    #[arg(long, value_enum, default_value_t = MapArg::Dev)]
    map: MapArg,
    /// fsdax or devdax: the reservation is the same, the DRAM for map=mem is not
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
}

/// What one kernel reserves for each page, and how that is known.
#[derive(Clone, Debug)]
pub(super) struct PageCost {
    /// In bytes.
    pub(super) bytes: Option<u64>,
    /// The evidence, or why there is none; for people.
    pub(super) evidence: String,
}

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    let kernel = KernelFacts::gather(paths, None)?;
    let page_cost = page_cost(args.max_struct_page, paths, &kernel);
    let host = KernelParameters { max_struct_page: page_cost.bytes, ..KernelParameters::from(&kernel) };
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

/// What the running kernel reserves for each page, unless the caller gives a number.
pub(super) fn page_cost(given: Option<u64>, paths: &Paths, kernel: &KernelFacts) -> PageCost {
    if let Some(bytes) = given {
        return PageCost { bytes: Some(bytes), evidence: "as given by --max-struct-page".to_owned() };
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
    PageCost { bytes, evidence }
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
    let outcome = ndctl_size::apply(place.size, &rules)
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

/// What a namespace would cost.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PredictDocument"))]
pub(in crate::cli::command) struct PredictionDocument<'a> {
    /// What was asked for.
    request: Request,
    /// The kernel that it is predicted for.
    kernel: PredictionKernel<'a>,
    /// What comes of it on this kernel.
    this_kernel: AlternativeRow<'a>,
    /// What would come of it on a kernel without the regression.
    good_kernel: AlternativeRow<'a>,
    /// What would come of it on this kernel with the other map.
    other_map: AlternativeRow<'a>,
    /// What this kernel reserves more than a good one, in bytes; null where one of the two is not known.
    excess_bytes: Option<u64>,
    /// Whether that is more than the limits.
    oversize: bool,
    /// What the numbers rest on, where that is not certain.
    notes: &'a [String],
}

/// The namespace that was asked about.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PredictRequest"))]
struct Request {
    /// Its size in bytes.
    size_bytes: u64,
    /// The alignment of its usable part, in bytes.
    align_bytes: u64,
    /// Physical address of its first byte; null where that is not known.
    start_address: Option<u64>,
    /// `fsdax` or `devdax`.
    mode: &'static str,
    /// Where the memmap would live: `dev` or `mem`.
    map: &'static str,
}

/// The kernel that it is predicted for.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PredictKernel"))]
struct PredictionKernel<'a> {
    /// Its release.
    release: &'a str,
    /// Its page size in bytes.
    page_size_bytes: u64,
    /// Its `sizeof(struct page)` in bytes.
    struct_page_size_bytes: Option<u64>,
    /// What it reserves for each page with map=dev, in bytes.
    max_struct_page_size_bytes: Option<u64>,
    /// What says so, in words.
    evidence: &'a str,
}

/// What comes of one choice.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PredictOutcome"))]
struct AlternativeRow<'a> {
    /// Where the memmap lives: `dev` or `mem`.
    map: &'static str,
    /// What is reserved for each page, in bytes; of no account with map=mem.
    max_struct_page_size_bytes: Option<u64>,
    /// `reserved`, `refused` or `unknown`.
    outcome: &'static str,
    /// Why it is refused, or not known.
    reason: Option<&'a str>,
    /// From the start of the namespace to its first usable byte, in bytes.
    reservation_bytes: Option<u64>,
    /// What can be stored, in bytes.
    usable_bytes: Option<u64>,
    /// What is cut off at the end, in bytes.
    end_trunc_bytes: Option<u64>,
    /// DRAM that the struct pages take, in bytes; null with map=dev, or where it is not known.
    dram_bytes: Option<u64>,
    /// Whether that is what remains after tail pages were deduplicated.
    dram_deduplicated: bool,
}

impl<'a> From<&'a Prediction> for PredictionDocument<'a> {
    fn from(prediction: &'a Prediction) -> Self {
        let Geometry { size, align, start, map, page_size, .. } = prediction.geometry;
        let [this, good, other] = &prediction.rows;
        Self {
            request: Request {
                size_bytes: size,
                align_bytes: align,
                start_address: prediction.start_known.then_some(start),
                mode: prediction.mode.as_str(),
                map: map_name(map),
            },
            kernel: PredictionKernel {
                release: &prediction.kernel.release,
                page_size_bytes: page_size,
                struct_page_size_bytes: prediction.kernel.struct_page_size,
                max_struct_page_size_bytes: prediction.page_cost.bytes,
                evidence: &prediction.page_cost.evidence,
            },
            this_kernel: this.into(),
            good_kernel: good.into(),
            other_map: other.into(),
            excess_bytes: prediction.excess(),
            oversize: prediction.is_oversize(),
            notes: &prediction.notes,
        }
    }
}

impl<'a> From<&'a Alternative> for AlternativeRow<'a> {
    fn from(row: &'a Alternative) -> Self {
        let (outcome, reason) = match &row.outcome {
            PredictedOutcome::Reserved(_) => ("reserved", None),
            PredictedOutcome::Refused(why) => ("refused", Some(&**why)),
            PredictedOutcome::Unknown(why) => ("unknown", Some(&**why)),
        };
        let reserved = row.reserved();
        Self {
            map: map_name(row.map),
            max_struct_page_size_bytes: row.struct_page,
            outcome,
            reason,
            reservation_bytes: reserved.map(|reserved| reserved.dataoff),
            usable_bytes: reserved.map(|reserved| reserved.usable),
            end_trunc_bytes: reserved.map(|reserved| reserved.end_trunc),
            dram_bytes: row.dram,
            dram_deduplicated: row.deduplicated,
        }
    }
}

const BAR_WIDTH: usize = 32;

struct Prediction {
    geometry: Geometry,
    mode: NamespaceMode,
    start_known: bool,
    kernel: KernelFacts,
    page_cost: PageCost,
    /// This kernel, a good kernel, the other map.
    rows: [Alternative; 3],
    notes: Vec<String>,
    thresholds: Thresholds,
}

impl Prediction {
    fn excess(&self) -> Option<u64> {
        let [this, good, _] = &self.rows;
        Some(this.reserved()?.dataoff.saturating_sub(good.reserved()?.dataoff))
    }

    fn is_oversize(&self) -> bool {
        let align = self.geometry.align.max(self.geometry.compat);
        self.excess().is_some_and(|excess| self.thresholds.passed_by(excess, align, self.geometry.size))
    }

    /// Notes on uncertain inputs of the numbers.
    fn add_notes(&mut self, host: &KernelParameters) {
        if !self.start_known && self.geometry.align > self.geometry.compat {
            let note = "the start address is not known: a namespace that does not begin at a multiple of the align \
                        costs more or less, by up to one align (--start)";
            self.notes.push(note.to_owned());
        }
        if self.mode == NamespaceMode::Devdax && host.deduplicates.is_none() {
            self.notes.push(
                "whether this kernel deduplicates the memmap of map=mem is not known (no BTF): DRAM without".to_owned(),
            );
        }
        if host.struct_page.is_none() {
            self.notes.push("sizeof(struct page) is not known (no BTF): no DRAM is given".to_owned());
        }
        if self.rows.iter().any(|row| row.deduplicated) {
            self.notes.push("DRAM: struct pages after tail-page deduplication; page tables are not counted".to_owned());
        }
    }

    fn table(&self, terminal: Terminal) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["", "MAP", "RESERVED", "USABLE", "CUT OFF", "DRAM", "FIRST TO LAST BYTE"]);
        for column in 2..6 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for row in &self.rows {
            table.add_row(self.cells(row, terminal));
        }
        let mut text = self.heading();
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{}\n\n{}", table.trim_fmt(), bar::legend(terminal));
        for row in &self.rows {
            if let PredictedOutcome::Refused(why) | PredictedOutcome::Unknown(why) = &row.outcome {
                let _ = writeln!(text, "{}: {why}", row.name);
            }
        }
        match self.excess() {
            Some(0) => text.push_str("This kernel reserves what a good kernel would.\n"),
            Some(excess) => {
                let verdict = if self.is_oversize() { "OVERSIZE: this" } else { "This" };
                let _ = writeln!(text, "{verdict} kernel reserves {} more than a good kernel would.", Bytes(excess));
            }
            None => {}
        }
        for note in &self.notes {
            let _ = writeln!(text, "Note: {note}.");
        }
        text
    }

    fn heading(&self) -> String {
        let Geometry { size, align, start, .. } = self.geometry;
        let start = if self.start_known { format!(" at {start:#x}") } else { String::new() };
        let bytes = self.page_cost.bytes.map_or("unknown".to_owned(), |bytes| format!("{bytes} bytes"));
        format!(
            "{} of {}, align {}{start}\nThis kernel ({}) reserves for each page: {bytes} ({})\n",
            self.mode.as_str(),
            Bytes(size),
            Bytes(align),
            self.kernel.release,
            self.page_cost.evidence
        )
    }

    fn cells(&self, row: &Alternative, terminal: Terminal) -> [String; 7] {
        let known = |bytes: Option<u64>, other: &str| bytes.map_or(other.to_owned(), |bytes| Bytes(bytes).to_string());
        let reserved = row.reserved();
        let nothing = if matches!(row.outcome, PredictedOutcome::Refused(_)) { "refused" } else { "?" };
        [
            row.name.to_owned(),
            map_name(row.map).to_owned(),
            known(reserved.map(|reserved| reserved.dataoff), nothing),
            known(reserved.map(|reserved| reserved.usable), nothing),
            known(reserved.map(|reserved| reserved.end_trunc), nothing),
            known(row.dram, if reserved.is_some() && row.map == Map::Mem { "?" } else { "-" }),
            self.bar(row, terminal),
        ]
    }

    fn bar(&self, row: &Alternative, terminal: Terminal) -> String {
        let Some(reserved) = row.reserved() else { return String::new() };
        let ideal = self.ideal(row.map).unwrap_or(reserved.dataoff).min(reserved.dataoff);
        let parts = [
            (BarPart::Memmap, ideal),
            (BarPart::Excess, reserved.dataoff - ideal),
            (BarPart::Usable, reserved.usable),
            (BarPart::Cut, reserved.end_trunc),
        ];
        bar::draw(&parts, self.geometry.size, BAR_WIDTH, terminal)
    }

    fn ideal(&self, map: Map) -> Option<u64> {
        let [_, good, _] = &self.rows;
        good.reserved().filter(|_| good.map == map).map(|reserved| reserved.dataoff)
    }
}
