//! `pfnwatch scan`: what the memmap of every namespace and device of this host costs, and whether it should.

pub(super) mod against;
mod csv;
mod device_report;
mod report;
mod table;
#[cfg(test)]
mod tests;

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;

use self::against::Comparison;
pub use self::report::ScanReport;
use crate::cli::output::terminal::{self, Terminal};
use crate::cli::socket_args::SocketArgs;
use crate::config::{Config, ConfigArgs};
use crate::export::metrics;
use crate::model::exit::Exit;
use crate::model::info_block::SavedInfoBlock;
use crate::model::scan_result::ScanResult;
use crate::model::thresholds::Thresholds;
use crate::model::verdict::Verdict;
use crate::os::paths::Paths;
use crate::scan::EnabledBlocks;
use crate::store::Reader;
use crate::sysfs::inventory::SysfsRoots;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch scan                          each namespace with its reservation, the ideal and a bar
  sudo pfnwatch scan                     exact: only root can read the addresses
  pfnwatch scan --only devices           CXL memory and soft-reserved memory: what no namespace owns
  pfnwatch scan --format json | jq '.namespaces[] | select(.verdict == \"oversize\")'
  sudo pfnwatch scan --format json > before.json; sudo pfnwatch scan --against before.json
                                         under another kernel or on another host: what costs more than before
  pfnwatch scan --format prom --output /var/lib/prometheus/node-exporter/pfnwatch.prom

Exit codes: 0 nothing found; 1 error; 2 wrong usage; 3 something is oversize, or costs more than in FILE.")]
pub struct Args {
    /// List only namespaces, or only devices that no namespace owns
    #[arg(long, value_enum, conflicts_with = "against")]
    only: Option<Only>,
    /// Compare with FILE, an earlier report of `scan --format json`, of this host or another one
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = ScanFormat::Table)]
    format: ScanFormat,
    /// Write to FILE instead of standard output; it is replaced atomically
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Struct page size of the ideal, in bytes, instead of the configuration's
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=4096))]
    reference_struct_page: Option<u64>,
    /// Load no eBPF program and ask no agent: sysfs is used instead of the info blocks of enabled namespaces
    #[arg(long)]
    without_ebpf: bool,
    /// The agent that is asked for the info blocks of enabled namespaces, so that no program is loaded
    #[command(flatten)]
    socket: SocketArgs,
    /// Which configuration
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    /// Persistent memory in namespaces
    Namespaces,
    /// Devices of the dax bus: CXL memory, soft-reserved memory
    Devices,
}

/// How the report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScanFormat {
    /// A table and bars for people
    Table,
    /// One JSON document, "schema": 1
    Json,
    /// Comma-separated values with a header line
    Csv,
    /// Prometheus text for node_exporter's textfile collector
    Prom,
}

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    let config = args.config.read()?;
    let configured = config.thresholds();
    let reference_struct_page = args.reference_struct_page.unwrap_or(configured.reference_struct_page);
    let thresholds = Thresholds { reference_struct_page, ..configured };
    let blocks =
        if args.without_ebpf { EnabledBlocks::Skip } else { EnabledBlocks::AskAgent(args.socket.path.clone()) };
    let mut scan = ScanResult::run(paths, blocks, || saved_blocks(&config, paths), &thresholds)?;
    // The processes of this host do not use another's devices.
    if paths.is_own_sysfs() {
        scan.find_users(&SysfsRoots::from(paths));
    }
    match args.only {
        Some(Only::Namespaces) => scan.keep_namespaces(),
        Some(Only::Devices) => scan.keep_devices(),
        None => {}
    }
    let comparison = args.against.as_deref().map(|file| Comparison::compare(file, &scan)).transpose()?;
    let text = match &comparison {
        Some(comparison) => comparison.render(args.format)?,
        None => render(args, &scan)?,
    };
    match &args.output {
        Some(file) => replace(file, &text).with_context(|| format!("writing {}", file.display()))?,
        None => terminal::print(&text)?,
    }
    let regressed = comparison.is_some_and(|comparison| comparison.regressed());
    Ok(if regressed || scan.verdict == Verdict::Oversize { Exit::Findings } else { Exit::Success })
}

/// What the agent has seen of namespaces that are disabled now. Without an event store that can be read, nothing is known of them.
fn saved_blocks(config: &Config, paths: &Paths) -> Vec<SavedInfoBlock> {
    let file = config.store().file.filter(|_| paths.is_own_sysfs());
    file.and_then(|file| Reader::open(&file).ok()?.blocks().ok()).unwrap_or_default()
}

fn render(args: &Args, scan: &ScanResult) -> anyhow::Result<String> {
    let terminal = if args.output.is_some() { Terminal::file() } else { Terminal::stdout() };
    Ok(match args.format {
        ScanFormat::Table => table::render(scan, terminal),
        ScanFormat::Json => serde_json::to_string_pretty(&ScanReport::from(scan))? + "\n",
        ScanFormat::Csv => csv::render(scan)?,
        ScanFormat::Prom => metrics::render(&metrics::of_scan(scan)),
    })
}

/// Writes beside `file` and renames: node_exporter may read at any moment.
fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A name that the textfile collector does not take for its own, which end in .prom.
    let mut new = tempfile::Builder::new().prefix(".pfnwatch-").suffix(".tmp").tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(Permissions::from_mode(0o644))?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}
