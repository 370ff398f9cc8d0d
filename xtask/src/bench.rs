//! `cargo xtask bench [NAME]`: measures, and prints each budget of the design beside what was measured.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;
use fs_err as fs;
use serde_json::{Value, json};

use crate::architecture::Architecture;
use crate::debian::NotAvailable;
use crate::{build, paths};

mod agent;
mod fleet;
mod guard;
mod kernel;
mod ndctl;
mod scan;
mod tracer;

#[path = "../../pfnwatch/tests/support/tree.rs"]
mod tree;

const MISSED: u8 = 3;
const CANNOT: u8 = 4;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which benchmark: all of them, unless one is named
    name: Option<Name>,
    /// With `guard`: measure on this host itself, in nanoseconds, instead of in a guest that counts instructions
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

struct Findings {
    /// What was measured where, for people.
    head: String,
    /// The name of the peer's column.
    peer: &'static str,
    rows: Vec<Row>,
    /// For programs: an object with how the rows were measured.
    report: Value,
}

/// A figure in its unit, a peer's beside it, and what it may be at most.
struct Row {
    what: String,
    unit: &'static str,
    ours: f64,
    peer: Option<f64>,
    budget: Option<f64>,
}

impl Row {
    fn new(what: impl Into<String>, unit: &'static str, ours: f64) -> Self {
        Self { what: what.into(), unit, ours, peer: None, budget: None }
    }

    fn beside(self, peer: f64) -> Self {
        Self { peer: Some(peer), ..self }
    }

    fn at_most(self, budget: f64) -> Self {
        Self { budget: Some(budget), ..self }
    }

    fn is_missed(&self) -> bool {
        self.budget.is_some_and(|budget| self.ours > budget)
    }

    fn line(&self) -> String {
        let number = |value: f64| format!("{value:.2} {}", self.unit).trim_end().to_owned();
        let ratio = self.peer.filter(|peer| *peer > 0.0).map(|peer| format!("{:.4}", self.ours / peer));
        let [peer, budget] = [self.peer, self.budget].map(|value| value.map_or_else(String::new, number));
        let verdict = if self.is_missed() { "MISSED" } else { self.budget.map_or("", |_| "met") };
        let (what, ours, ratio) = (&self.what, number(self.ours), ratio.unwrap_or_default());
        let line = format!("{what:52} {ours:>22} {peer:>22} {ratio:>9} {budget:>22}  {verdict}");
        line.trim_end().to_owned() + "\n"
    }

    fn json(&self) -> Value {
        let thousandths = |value: f64| (value * 1e3).round() / 1e3;
        json!({
            "what": self.what.trim_start(), "unit": self.unit, "pfnwatch": thousandths(self.ours),
            "peer": self.peer.map(thousandths), "budget": self.budget.map(thousandths), "missed": self.is_missed(),
        })
    }
}

impl Findings {
    fn new(head: &str, peer: &'static str, rows: Vec<Row>) -> Self {
        Self { head: head.to_owned(), peer, rows, report: json!({}) }
    }

    fn missed(&self) -> bool {
        self.rows.iter().any(Row::is_missed)
    }

    fn table(&self) -> String {
        let columns = format!("{:52} {:>22} {:>22} {:>9} {:>22}\n", "", "pfnwatch", self.peer, "ratio", "budget");
        self.rows.iter().fold(format!("{}\n{columns}", self.head), |text, row| text + &row.line())
    }
}

/// The value below which so many of a hundred lie; `None` if there is no value, or one that is no number.
fn quantile(mut values: Vec<f64>, hundredths: usize) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let value = values.get(values.len().saturating_sub(1) * hundredths / 100).copied();
    value.filter(|_| values.iter().all(|value| value.is_finite()))
}

/// Sizes of memory and files, and counts, are far below 2^53.
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Name {
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
    build(Architecture::HOST)?;
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
        Err(error) if error.is::<NotAvailable>() => {
            eprintln!("error: {error:#}");
            Ok(CANNOT.into())
        }
        Err(error) => Err(error),
    }
}

fn print_findings(name: &str, mut findings: Findings) -> Result<bool> {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().and_then(|load| load.parse::<f64>().ok());
    print!("{}", findings.table());
    println!("load of this host over the last minute: {}", load.map_or("unknown".to_owned(), |load| load.to_string()));
    let rows: Vec<_> = findings.rows.iter().map(Row::json).collect();
    let head =
        [("schema", json!(1)), ("bench", json!(name)), ("load_average", json!(load)), ("measurements", json!(rows))];
    if let Some(report) = findings.report.as_object_mut() {
        report.extend(head.map(|(key, value)| (key.to_owned(), value)));
    }
    let folder = paths::target().join("bench");
    let file = folder.join(format!("{name}.json"));
    fs::create_dir_all(folder)?;
    fs::write(&file, format!("{:#}\n", findings.report))?;
    println!("written to {}\n", file.display());
    Ok(findings.missed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_is_the_guard_s() {
        assert!(native(Some(Name::Scan)).is_err() && native(None).is_err());
        assert_eq!(Name::Guard.file(), "guard");
    }

    #[test]
    fn a_budget_is_met_or_missed() {
        let row = |ours| Row::new("work", "ms", ours).beside(100.0).at_most(50.0);
        assert!(!row(50.0).is_missed() && row(50.1).is_missed() && !Row::new("work", "", 51.0).is_missed());
        let findings = Findings::new("h", "shell", vec![row(50.5)]);
        let table = findings.table();
        assert!(findings.missed() && table.contains("shell") && table.contains("0.5050"), "{table}");
        assert!(table.contains("50.50 ms") && table.ends_with("MISSED\n"), "{table}");
        assert_eq!(row(50.0).json()["budget"], 50.0);
    }

    #[test]
    fn quantiles() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((quantile(values.clone(), 50), quantile(values, 99)), (Some(100.0), Some(198.0)));
        assert_eq!(quantile(vec![66.0, 70.0, 65.0, 66.5, 90.0], 50), Some(66.5));
        assert!(quantile(Vec::new(), 50).is_none() && quantile(vec![1.0, f64::NAN], 50).is_none());
    }

    /// Each budget that a benchmark or a check judges by, as the page has it.
    fn budgets() -> Vec<(&'static str, String)> {
        vec![
            ("resident memory, idle, 64 namespaces", format!("{} MiB", agent::MAX_RESIDENT_MIB)),
            ("maps and programs in the kernel", format!("{} MiB", agent::MAX_KERNEL_MIB)),
            ("start to attached, of bpftrace's", format!("{}", agent::MAX_START_RATIO)),
            ("guard on a node that is no link, more than an empty program", format!("{} instructions", guard::BUDGET)),
            ("event to line, p99, of bpftrace's", format!("{}", agent::MAX_LINE_RATIO)),
            ("wake-ups a minute, idle", format!("{}", agent::MAX_WAKE_UPS_A_MINUTE)),
            ("scan of 1,000 namespaces", format!("{} ms", scan::MAX_SCAN_OF_1000.as_millis())),
            ("installed binary", format!("{} MiB", agent::MAX_INSTALLED_MIB)),
        ]
    }

    #[test]
    fn the_page_has_the_budgets_of_the_code() {
        let page = fs::read_to_string(paths::root().join("docs/benchmarks.md")).unwrap();
        for (what, most) in budgets() {
            let row = page.lines().find(|line| line.starts_with(&format!("| {what} |")));
            let row = row.unwrap_or_else(|| panic!("docs/benchmarks.md has no row about {what}"));
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            assert_eq!(cells[2], most, "{what}");
            assert!(cells[3..].iter().any(|cell| !cell.is_empty()), "{what}: nothing measured: {row}");
        }
    }
}
