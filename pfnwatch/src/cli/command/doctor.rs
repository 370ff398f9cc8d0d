//! `pfnwatch doctor`: what this host offers.

use std::env;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::cli::output::json::Format;
use crate::image::memmap_return;
use crate::kernel::features::{FeatureSources, Features};
use crate::kernel::known_defects::may_lose_memmap;
use crate::kernel::prerequisites::{Availability, NeededFor, Prerequisite, answer, judge, unmet};
use crate::model::event::SCHEMA;
use crate::model::exit::Exit;
use crate::model::units::Bytes;
use crate::os::paths::Paths;

/// Width of a table whose output is no terminal.
const WIDTH: u16 = 120;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch doctor                   what is missing, what to do about it, and what is there
  pfnwatch doctor --format json     the same for programs
  pfnwatch doctor --enforce         end with 4 if the guard could not refuse anything

It changes nothing. Without root, it reports that root is missing.
Exit codes: 0 all that observing needs is there; 1 error; 2 wrong usage; 4 something is missing.")]
pub struct Args {
    /// Check what enforcing needs, too
    #[arg(long)]
    enforce: bool,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Take BTF from DIR/vmlinux and DIR/libnvdimm, for a kernel that ships none
    #[arg(long, value_name = "DIR")]
    btf_dir: Option<PathBuf>,
}

/// The report.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct DoctorReport {
    /// The version of this document.
    schema: u32,
    /// The kernel that runs.
    kernel: DoctorKernel,
    /// Whether this host can be observed.
    observe: Availability,
    /// Whether the info blocks of enabled namespaces can be read.
    exact_inventory: Availability,
    /// Whether creations can be refused here.
    enforce: Availability,
    /// Known defects of the kernel that runs, a line each.
    warnings: Vec<String>,
    /// The prerequisites, each with what was found.
    prerequisites: Vec<Prerequisite>,
}

/// The kernel that runs.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "DoctorKernel"))]
struct DoctorKernel {
    /// Its release.
    release: Option<String>,
    /// Its page size in bytes.
    page_size_bytes: Option<u64>,
    /// Its `sizeof(struct page)` in bytes.
    struct_page_size_bytes: Option<u32>,
}

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    let mut report = DoctorReport::new(&Features::gather(&FeatureSources::new(paths), args.btf_dir.as_deref()));
    let is_suspected = report.kernel.release.as_deref().is_some_and(may_lose_memmap);
    report.warnings.extend(memmap_return::warning(memmap_return::verdict_of_running(paths, is_suspected)));
    let mut to = io::stdout().lock();
    match args.format {
        Format::Table => write_table(&mut to, &report, width())?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut to, &report)?;
            writeln!(to)?;
        }
    }
    to.flush()?;
    Ok(report.exit(args.enforce))
}

impl DoctorReport {
    fn new(host: &Features) -> Self {
        let prerequisites = judge(host);
        let struct_page = host.types.as_ref().ok().and_then(|types| types.struct_page_bytes.as_ref().ok());
        Self {
            schema: SCHEMA,
            kernel: DoctorKernel {
                release: host.release.clone(),
                page_size_bytes: host.page_size_bytes,
                struct_page_size_bytes: struct_page.copied(),
            },
            observe: answer(&prerequisites, NeededFor::Observe),
            exact_inventory: answer(&prerequisites, NeededFor::ExactInventory),
            enforce: answer(&prerequisites, NeededFor::Enforce),
            warnings: Vec::new(),
            prerequisites,
        }
    }

    /// An unknown answer is no failure: it is printed, and `run` finds out.
    fn exit(&self, enforce: bool) -> Exit {
        let asked = if enforce { self.enforce } else { self.observe };
        if asked == Availability::No { Exit::Unsupported } else { Exit::Success }
    }

    fn unmet(&self, purpose: NeededFor) -> String {
        unmet(&self.prerequisites, purpose).map(|row| row.name).collect::<Vec<_>>().join(", ")
    }
}

/// What is missing is listed first, and what is unknown second.
fn write_table(to: &mut impl Write, report: &DoctorReport, width: u16) -> io::Result<()> {
    let kernel = &report.kernel;
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), |bytes| Bytes(bytes).to_string());
    let release = kernel.release.as_deref().unwrap_or("of an unknown release");
    let struct_page = size(kernel.struct_page_size_bytes.map(u64::from));
    writeln!(to, "Linux {release}: page {}, struct page {struct_page}\n", size(kernel.page_size_bytes))?;

    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width).set_header(["PREREQUISITE", "THERE", "NEEDED FOR", "FOUND, AND WHAT TO DO"]);
    let mut rows: Vec<&Prerequisite> = report.prerequisites.iter().collect();
    rows.sort_by_key(|row| match row.answer {
        Availability::No => 0,
        Availability::Unknown => 1,
        Availability::Yes => 2,
    });
    for row in rows {
        let seen = match &row.remedy {
            Some(remedy) => format!("{}\n→ {remedy}", row.seen),
            None => row.seen.clone(),
        };
        table.add_row([row.name, row.answer.as_str(), row.needed_for.as_str(), &seen]);
    }
    writeln!(to, "{}\n", table.trim_fmt())?;
    writeln!(to, "{}", sentence("observed", report.observe, &report.unmet(NeededFor::Observe)))?;
    for warning in &report.warnings {
        writeln!(to, "Warning: {warning}.")?;
    }
    let lacking = report.unmet(NeededFor::Enforce);
    let lacking = if lacking.is_empty() { "what observing needs".to_owned() } else { lacking };
    writeln!(to, "{}", sentence("guarded (enforce)", report.enforce, &lacking))
}

fn sentence(done: &str, answer: Availability, lacking: &str) -> String {
    match answer {
        Availability::Yes => format!("This host can be {done}."),
        Availability::No => format!("This host cannot be {done}: it lacks {lacking}."),
        Availability::Unknown => {
            format!("Nothing known prevents that this host can be {done}; not everything can be checked now.")
        }
    }
}

/// The terminal's width, or COLUMNS, or a fixed one.
fn width() -> u16 {
    let columns = || env::var("COLUMNS").ok()?.parse().ok();
    let terminal = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0);
    let found = if io::stdout().is_terminal() { terminal() } else { columns() };
    found.unwrap_or(WIDTH).max(60)
}

#[cfg(test)]
mod tests;
