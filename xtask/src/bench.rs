//! `cargo xtask bench NAME`: measures, and prints each budget of the design beside what was measured.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::{build, paths};

mod agent;
mod guard;
mod peer;
mod scan;

/// The exit code of a budget that was missed.
const MISSED: u8 = 3;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which benchmark
    name: Name,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// The agent: its memory, its start and its lines beside bpftrace's, how often it wakes up when nothing happens
    Agent,
    /// The guard on its hook, in instructions, beside a program that does nothing and beside none
    Guard,
    /// `pfnwatch scan` over 10, 1,000 and 10,000 namespaces, beside a shell that reads the same files
    Scan,
}

/// What a benchmark found.
struct Findings {
    /// For people.
    table: String,
    /// For programs: an object with the `measurements`, and whatever tells how they were made.
    report: Value,
    /// Whether a budget was missed.
    missed: bool,
}

/// Builds the agent, measures, prints the table and writes `target/bench/NAME.json`.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    build(true)?;
    let (name, mut findings) = match args.name {
        Name::Agent => ("agent", agent::measure()?),
        Name::Guard => ("guard", guard::measure()?),
        Name::Scan => ("scan", scan::measure()?),
    };
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|load| load.parse::<f64>().ok());
    print!("{}", findings.table);
    println!("load of this host over the last minute: {}", load.map_or("unknown".to_owned(), |load| load.to_string()));
    let head = [("schema", json!(1)), ("bench", json!(name)), ("load_average", json!(load))];
    if let Some(report) = findings.report.as_object_mut() {
        report.extend(head.map(|(key, value)| (key.to_owned(), value)));
    }
    let file = paths::bench().join(format!("{name}.json"));
    let written =
        fs::create_dir_all(paths::bench()).and_then(|()| fs::write(&file, format!("{:#}\n", findings.report)));
    written.with_context(|| format!("cannot write {}", file.display()))?;
    println!("written to {}", file.display());
    Ok(if findings.missed { MISSED.into() } else { ExitCode::SUCCESS })
}
