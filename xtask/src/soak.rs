//! `cargo xtask soak`: the tests of that name alone, for longer than a run of all tests has time for.
//!
//! `guest::soak` describes it.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use guest::boot_config::Soak;
use guest::kernel_lines::{KERNEL_LINES, Lines};

use crate::architecture::Architecture;
use crate::vm;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long on each kernel
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=24 * 60))]
    minutes: u64,
    /// Kernel line; may be given twice
    #[arg(long, default_values = soaked_lines(), value_parser = PossibleValuesParser::new(soaked_lines()))]
    kernel: Vec<String>,
    /// What everything is chosen by, as a soak before this one has printed it; without it another one each time
    #[arg(long)]
    seed: Option<u64>,
    /// How often a caller that never gives up tries a creation that the guard denies
    #[arg(long, default_value_t = 10_000)]
    creations: u32,
    /// Words of which a test's name must hold one; none runs both tests
    #[arg(last = true, value_name = "FILTER")]
    filter: Vec<String>,
}

/// The lines on which the soak is among the tests (`guest::scope`).
fn soaked_lines() -> Vec<&'static str> {
    KERNEL_LINES.into_iter().filter(|line| Lines::OldestAndNewest.contain(line)).collect()
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let seed = args.seed.map_or_else(seed_of_now, Ok)?;
    let soak = Soak { seconds: args.minutes * 60, seed, creations: args.creations };
    let filter = if args.filter.is_empty() { vec!["soak::".to_owned()] } else { args.filter.clone() };
    println!("{} minutes on each of {}, seed {seed}", args.minutes, args.kernel.join(", "));
    let tally = vm::run(&vm::Args { kernel: args.kernel.clone(), arch: Architecture::X86_64, filter, soak })?;
    Ok(if tally.failures.is_empty() && tally.not_run.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn seed_of_now() -> Result<u64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(now.as_secs() % 1_000_000)
}
