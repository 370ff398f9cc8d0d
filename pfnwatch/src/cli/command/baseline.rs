//! `pfnwatch baseline`: regressions, and what they are compared with.

mod accept;
pub(super) mod report;
mod table;
#[cfg(test)]
mod tests;

use crate::cli::output::json::{Format, document};
use crate::cli::output::terminal;
use crate::cli::store_args::StoreArgs;
use crate::config::ConfigArgs;
use crate::kernel::boot;
use crate::model::exit::Exit;
use crate::os::paths::Paths;
use crate::os::sysconf::page_size;
use crate::store::Reader;

pub use self::report::BaselineReport;

/// Options of `pfnwatch baseline`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch baseline                 what memmaps cost under this kernel, and under those before it
  sudo pfnwatch baseline --format json | jq '.regressions[].detail'
  sudo pfnwatch baseline accept --host --reason 'all kernels that we have cost as much'

It reads the agent's event store: a kernel is known once an agent has run under it. Under which kernel a namespace cost the \
least is what it is held against. Where nothing is known there is nothing to hold anything against, and that is said. What \
was read and is to stay as it is can be accepted: it is the baseline from then on.

Exit codes: 0 nothing costs more than it did; 1 error; 2 wrong usage; 3 something does.")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What to do; the report without it
    #[command(subcommand)]
    command: Option<Command>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the event store is
    #[command(flatten)]
    store: StoreArgs,
    /// Which configuration
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Take what something costs now for its baseline: its alert ends
    Accept(accept::Args),
}

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    if let Some(Command::Accept(args)) = &args.command {
        return accept::run(args);
    }
    let reader = Reader::open(&args.store.file(&args.config)?)?;
    let (boots, costs) = (reader.boots()?, reader.costs()?);
    let report = BaselineReport::of(boots, costs, &boot::id(paths).unwrap_or_default(), page_size()?);
    terminal::print(&match args.format {
        Format::Json => document(&report)?,
        Format::Table => table::render(&report),
    })?;
    Ok(if report.regressions.is_empty() { Exit::Success } else { Exit::Findings })
}
