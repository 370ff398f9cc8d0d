//! `cargo xtask bench [NAME]`: measures, and prints each budget of the design beside what was measured.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::{build, paths};

mod agent;
mod fleet;
mod guard;
mod kernel;
mod ndctl;
mod peer;
mod scan;
mod tracer;

#[path = "../../pfnwatch/tests/support/tree.rs"]
mod tree;

#[cfg(test)]
mod page;

/// The exit code of a budget that was missed.
const MISSED: u8 = 3;
/// The exit code of a host that cannot be measured on.
const CANNOT: u8 = 4;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which benchmark: all of them, unless one is named
    name: Option<Name>,
    /// With `guard`: on this host itself, in nanoseconds, in place of a guest that counts instructions
    ///
    /// It needs root, `bpf` among the active security modules, and libnvdimm loaded. The guard is in audit mode for that time,
    /// which denies nothing.
    #[arg(long)]
    native: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Name {
    /// The agent: its memory, its start and its lines beside bpftrace's, how often it wakes up when nothing happens
    Agent,
    /// `pfnwatch fleet` over 100, 1,000 and 10,000 hosts' reports: time, and memory that may not grow
    Fleet,
    /// The guard on its hook, in instructions, beside a program that does nothing, bpftrace's, and none
    Guard,
    /// `pfnwatch kernel` over the kernel packages that the tests use
    Kernel,
    /// `pfnwatch scan` beside `ndctl list` in a guest, over 10, 64 and 240 namespaces
    Ndctl,
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

/// A host that nothing can be measured on, and why.
#[derive(Debug)]
struct CannotMeasure(String);

impl std::fmt::Display for CannotMeasure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "this host cannot be measured on: {}", self.0)
    }
}

impl std::error::Error for CannotMeasure {}

impl Name {
    /// Its file under target/bench.
    fn file(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn measure(self) -> Result<Findings> {
        match self {
            Self::Agent => agent::measure(),
            Self::Fleet => fleet::measure(),
            Self::Guard => guard::measure(),
            Self::Kernel => kernel::measure(),
            Self::Ndctl => ndctl::measure(),
            Self::Scan => scan::measure(),
        }
    }
}

/// Builds the agent, measures, prints the tables and writes `target/bench/NAME.json`. One that fails keeps no other back.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    build(true)?;
    if args.native {
        return native(args.name);
    }
    let names = args.name.map_or_else(|| Name::value_variants().to_vec(), |name| vec![name]);
    let (mut missed, mut failed) = (false, Vec::new());
    for name in names {
        match name.measure().and_then(|findings| print_findings(&name.file(), findings)) {
            Ok(one) => missed |= one,
            Err(error) => {
                eprintln!("{}: {error:#}", name.file());
                failed.push(name.file());
            }
        }
    }
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join(", "));
    }
    Ok(if missed { MISSED.into() } else { ExitCode::SUCCESS })
}

fn native(name: Option<Name>) -> Result<ExitCode> {
    if name != Some(Name::Guard) {
        bail!("--native is for the guard: cargo xtask bench guard --native");
    }
    match guard::native::measure() {
        Ok(findings) => print_findings("guard-native", findings).map(|_| ExitCode::SUCCESS),
        Err(error) if error.is::<CannotMeasure>() => {
            eprintln!("error: {error:#}");
            Ok(CANNOT.into())
        }
        Err(error) => Err(error),
    }
}

/// Prints and writes what was found, and returns whether a budget was missed.
fn print_findings(name: &str, mut findings: Findings) -> Result<bool> {
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
    println!("written to {}\n", file.display());
    Ok(findings.missed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_is_the_guard_s() {
        assert!(native(Some(Name::Scan)).is_err() && native(None).is_err());
        assert_eq!(Name::Guard.file(), "guard");
    }
}
