//! `pfnwatch policy`: what a configuration means for the guard, before it is in force.

mod creation;
mod events;
pub(super) mod explanation;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use self::creation::Evaluation;
use self::explanation::Explanation;
use crate::cli::output::json::Format;
use crate::cli::output::terminal;
use crate::cli::store_args::StoreArgs;
use crate::config::{Config, ConfigArgs, DEFAULT_PATH};
use crate::model::event::SCHEMA;
use crate::model::exit::{Exit, ExitContext};
use crate::model::inventory::Inventory;
use crate::model::policy::RegionFacts;
use crate::model::scan_result::ScanResult;
use crate::os::control_socket;
use crate::os::paths::Paths;
use crate::scan::EnabledBlocks;
use crate::store::Reader;
use crate::sysfs::inventory::SysfsRoots;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to do with it.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a configuration and explain it in words; with --against, list what it would have denied
    Check(Check),
}

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Check(args) => check(args, paths),
    }
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch policy check                        /etc/pfnwatch/pfnwatch.toml in words
  pfnwatch policy check new.toml && sudo install -m 644 new.toml /etc/pfnwatch/pfnwatch.toml
  sudo pfnwatch policy check new.toml --against scan
                                               which namespaces of this host it would have denied
  sudo pfnwatch policy check new.toml --against events
                                               and which of those that the agent has seen

Exit codes: 0 valid; 1 error; 2 not valid, or wrong usage; 3 something would have been denied.")]
struct Check {
    /// The configuration
    #[arg(value_name = "FILE", default_value = DEFAULT_PATH)]
    file: PathBuf,
    /// Read drop-ins (*.toml, in the order of their names) from DIR [default: conf.d beside FILE]
    #[arg(long, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// List what the policy would have done about existing namespaces or recorded creations
    #[arg(long, value_enum)]
    against: Option<Comparand>,
    /// Read events from FILE, as `pfnwatch run --format json` writes them, instead of the event store; - for standard input
    #[arg(long, value_name = "FILE", requires = "against")]
    events: Option<PathBuf>,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// --against scan: load no eBPF program; sysfs is used instead of the info blocks of enabled namespaces
    #[arg(long)]
    without_ebpf: bool,
    /// Where the event store is
    #[command(flatten)]
    store: StoreArgs,
}

/// What a policy is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Comparand {
    /// The namespaces that this host has, as they are
    Scan,
    /// The events in the agent's event store, or in the file of --events
    Events,
}

/// The report about an invalid configuration.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::cli::command) struct RejectedPolicy<'a> {
    /// The version of this document.
    schema: u32,
    /// The configuration's file.
    file: &'a str,
    /// False.
    valid: bool,
    /// What is wrong with it, with line and column.
    error: String,
}

fn check(args: &Check, paths: &Paths) -> anyhow::Result<Exit> {
    ensure!(
        args.events.is_none() || args.against == Some(Comparand::Events),
        ExitContext::usage("--events needs --against events")
    );
    let config = match ConfigArgs::named(args.file.clone(), args.config_dir.clone()).read() {
        Ok(config) => config,
        Err(error) => {
            if args.format == Format::Json {
                let file = &*args.file.to_string_lossy();
                print_json(&RejectedPolicy { schema: SCHEMA, file, valid: false, error: format!("{error:#}") })?;
            }
            return Err(error);
        }
    };
    let policy = config.policy();
    let now = SystemTime::now();
    let inventory = Inventory::read(&SysfsRoots::from(paths))?;
    let against = evaluate_against(args, paths, &config, &inventory, now)?;
    let explanation = Explanation::new(&args.file, &policy, &inventory, now, against);
    match args.format {
        Format::Json => print_json(&explanation)?,
        _ => terminal::print(&explanation::explanation_text(&explanation))?,
    }
    let denies = explanation.against.as_ref().is_some_and(Evaluation::denies);
    Ok(if denies { Exit::Findings } else { Exit::Success })
}

fn print_json(document: &impl Serialize) -> anyhow::Result<()> {
    Ok(terminal::print(&(serde_json::to_string_pretty(document)? + "\n"))?)
}

fn evaluate_against(
    args: &Check,
    paths: &Paths,
    config: &Config,
    inventory: &Inventory,
    now: SystemTime,
) -> anyhow::Result<Option<Evaluation>> {
    let Some(what) = args.against else { return Ok(None) };
    let policy = &config.policy();
    if what == Comparand::Scan {
        let blocks = if args.without_ebpf {
            EnabledBlocks::Skip
        } else {
            EnabledBlocks::AskAgent(control_socket::DEFAULT_PATH.into())
        };
        let scan = ScanResult::run(paths, blocks, Vec::new, &policy.thresholds)?;
        return Ok(Some(creation::evaluate(&scan, policy, now)));
    }
    let regions: Vec<_> = inventory.regions.iter().filter_map(RegionFacts::of).collect();
    let Some(file) = &args.events else {
        let file = args.store.file_in(config)?;
        let lines = Reader::open(&file)?.lines(&events::KINDS)?;
        return events::evaluate(lines.as_bytes(), policy, &regions)
            .with_context(|| file.display().to_string())
            .map(Some);
    };
    let shown = file.display();
    let against = if file == Path::new("-") {
        events::evaluate(io::stdin().lock(), policy, &regions)
    } else {
        let opened = File::open(file).with_context(|| format!("the events {shown} cannot be read"))?;
        events::evaluate(BufReader::new(opened), policy, &regions)
    };
    against.with_context(|| format!("the events {shown}")).map(Some)
}
