//! `pfnwatch fleet`: what memmaps cost on all hosts.

pub(super) mod readiness;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use crate::cli::fleet::prometheus::{self, Client};
use crate::cli::fleet::{Fleet, FleetTotals, Host, HostProblem, Release, Truncated, files};
use crate::cli::output::json::document;
use crate::cli::output::table::table;
use crate::cli::output::terminal;
use crate::model::event::Time;
use crate::model::exit::{Exit, ExitContext};
use crate::model::units::{Bytes, Plural};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch fleet --prometheus http://prometheus:9090
                                         what is lost, where, and under which kernel release
  pfnwatch fleet --prometheus https://metrics.example/prom --bearer-token-file token --ca-file ca.pem --format json
  pfnwatch fleet --from reports/         the same from files of `pfnwatch scan --format json`, one for each host
  pfnwatch fleet --from reports/ --fail-on regression
                                         for a pipeline: 3 if a kernel costs more than before, or than another one
  pfnwatch fleet readiness --prometheus http://prometheus:9090 --days 14
                                         which hosts are ready to switch from audit to enforce

The report lists what is missing from the sums: hosts that are gone, damaged files, incomplete answers. If something is \
missing and nothing was found, the exit code is 1: an incomplete sum proves nothing.

Exit codes: 0 success; 1 error, or the sums may be short; 2 wrong usage; 3 what --fail-on names was found.")]
pub struct Args {
    /// Another report instead of the sums
    #[command(subcommand)]
    question: Option<Question>,
    /// Source of the hosts' reports
    #[command(flatten)]
    source: FleetSource,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = FleetFormat::Table)]
    format: FleetFormat,
    /// Number of hosts to list, those with the largest losses first
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    worst: u16,
    /// End with 3 if this is found; may be given several times
    #[arg(long, value_enum, value_name = "WHAT")]
    fail_on: Vec<Finding>,
    /// Do not end with 1 because hosts, files or parts of answers are missing from the sums
    #[arg(long)]
    allow_incomplete: bool,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// List which hosts are ready to switch from audit to enforce, and why the others are not
    Readiness(readiness::Args),
}

/// Source of the hosts' reports.
#[derive(clap::Args, Debug)]
struct FleetSource {
    /// Ask the Prometheus (or Thanos, or Mimir) at URL
    #[arg(long, value_name = "URL", conflicts_with = "from")]
    prometheus: Option<String>,
    /// Read the reports in DIR, one file of `scan --format json` for each host
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Read a bearer token for Prometheus from FILE
    #[arg(long, value_name = "FILE", conflicts_with = "basic_auth_file")]
    bearer_token_file: Option<PathBuf>,
    /// Read `user:password` for Prometheus from FILE
    #[arg(long, value_name = "FILE")]
    basic_auth_file: Option<PathBuf>,
    /// Trust the certificate authorities in FILE instead of this host's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Time limit of each query
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FleetFormat {
    /// Tables for people
    Table,
    /// One JSON document, "schema": 1
    Json,
    /// The kernel releases as comma-separated values with a header line
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Finding {
    /// A kernel made something cost more than it did, or costs more than the fleet's others
    Regression,
    /// A host has something oversize
    Oversize,
    /// Something is missing from the sums: a namespace that nothing is known of, too
    Incomplete,
}

impl FleetSource {
    fn client(&self) -> anyhow::Result<Client> {
        let url = self.prometheus.clone().ok_or_else(|| ExitContext::usage("name a Prometheus: `--prometheus URL`"))?;
        let plain = url.starts_with("http://") || url.starts_with("https://");
        if !plain {
            return Err(
                ExitContext::usage(format!("`{url}` is not a URL: it must begin with http:// or https://")).into()
            );
        }
        Ok(Client {
            url,
            bearer_token_file: self.bearer_token_file.clone(),
            basic_auth_file: self.basic_auth_file.clone(),
            ca_file: self.ca_file.clone(),
            timeout: self.timeout,
            at: SystemTime::now(),
        })
    }

    fn add_to(&self, fleet: &mut Fleet) -> anyhow::Result<()> {
        match &self.from {
            Some(folder) => files::add(folder, fleet),
            None if self.prometheus.is_some() => prometheus::add(&self.client()?, fleet),
            None => {
                Err(ExitContext::usage("name the source of the hosts' reports: `--prometheus URL`, or `--from DIR`")
                    .into())
            }
        }
    }
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    if let Some(Question::Readiness(readiness)) = &args.question {
        return readiness::run(readiness);
    }
    let mut fleet = Fleet::keeping(args.worst.into());
    args.source.add_to(&mut fleet)?;
    let report = FleetReport::of(&fleet);
    terminal::print(&match args.format {
        FleetFormat::Table => render(&report),
        FleetFormat::Json => document(&report)?,
        FleetFormat::Csv => report.csv()?,
    })?;
    if args.format == FleetFormat::Csv {
        // Where there is no place for it in the report.
        report.shortcomings().iter().for_each(|line| eprintln!("{line}"));
    }
    let found = |finding: &Finding| match finding {
        Finding::Regression => fleet.regressed(),
        Finding::Oversize => fleet.totals().oversize_hosts > 0,
        Finding::Incomplete => report.is_incomplete(),
    };
    if args.fail_on.iter().any(found) {
        return Ok(Exit::Findings);
    }
    match report.short() {
        Some(why) if !args.allow_incomplete => {
            eprintln!("error: {why}; --allow-incomplete accepts that");
            Ok(Exit::Error)
        }
        _ => Ok(Exit::Success),
    }
}

/// The whole document.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::cli::command) struct FleetReport {
    /// When it was made.
    time: Time,
    /// A kernel made something cost more than it did, or one release costs more than another.
    regressed: bool,
    /// Sums over the hosts that were counted.
    totals: FleetTotals,
    /// Hosts by the guard's mode; `unknown` if no agent reports it.
    modes: BTreeMap<String, u64>,
    /// The dearest first.
    releases: Vec<Release>,
    /// The worst first.
    worst: Vec<Host>,
    /// Hosts whose agent cannot observe.
    blind: Truncated<String>,
    /// Hosts where enforce was asked for and is not effective.
    not_effective: Truncated<String>,
    /// What is missing from the sums.
    not_counted: Truncated<HostProblem>,
    /// Warnings that Prometheus sent with its answers.
    warnings: Truncated<String>,
}

impl FleetReport {
    fn of(fleet: &Fleet) -> Self {
        Self {
            time: Time(SystemTime::now()),
            regressed: fleet.regressed(),
            totals: *fleet.totals(),
            modes: fleet.modes().clone(),
            releases: fleet.releases(),
            worst: fleet.worst().to_vec(),
            blind: fleet.blind().clone(),
            not_effective: fleet.not_effective().clone(),
            not_counted: fleet.uncounted().clone(),
            warnings: fleet.warnings().clone(),
        }
    }

    const fn is_incomplete(&self) -> bool {
        self.not_counted.count > 0 || self.warnings.count > 0 || self.totals.sums.unknown_namespaces > 0
    }

    /// Why the sums may lack hosts. A namespace without a verdict is no such reason: its host was counted.
    fn short(&self) -> Option<String> {
        let (missing, warnings) = (self.not_counted.count, self.warnings.count);
        match (self.totals.hosts, missing, warnings) {
            (0, 0, 0) => Some("no host is known".to_owned()),
            (_, 0, 0) => None,
            (_, _, 0) => Some(format!("the sums are short: {missing} of the hosts or files could not be counted")),
            (_, _, _) => Some(format!(
                "the sums may be short: {missing} of the hosts or files could not be counted, and {warnings} warnings came"
            )),
        }
    }

    fn shortcomings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.totals.sums.unknown_namespaces > 0 {
            lines.push(format!(
                "UNKNOWN {} namespaces: what they reserve is in no sum",
                self.totals.sums.unknown_namespaces
            ));
        }
        for HostProblem { place, problem } in &self.not_counted.first {
            lines.push(format!("NOT COUNTED {place}: {problem}"));
        }
        lines.extend(more("NOT COUNTED", &self.not_counted));
        lines.extend(self.warnings.first.iter().map(|warning| format!("WARNING {warning}")));
        lines.extend(more("WARNING", &self.warnings));
        lines
    }

    fn csv(&self) -> anyhow::Result<String> {
        let mut lines = csv::Writer::from_writer(Vec::new());
        for release in &self.releases {
            lines.serialize(release)?;
        }
        Ok(String::from_utf8(lines.into_inner()?)?)
    }
}

/// Text for the entries beyond those that are named.
fn more<T>(word: &str, named: &Truncated<T>) -> Option<String> {
    let shown = u64::try_from(named.first.len()).unwrap_or(u64::MAX);
    let rest = named.count.saturating_sub(shown);
    (rest > 0).then(|| format!("{word} and {rest} more"))
}

const RELEASES: [&str; 9] =
    ["KERNEL", "FOR EACH PAGE", "MORE PER TIB", "HOSTS", "OVERSIZE HOSTS", "NAMESPACES", "LOST", "DRAM", "RETURNED"];
const WORST: [&str; 6] = ["HOST", "CLUSTER", "KERNEL", "NAMESPACES", "LOST", "PLAN RETURNS"];

fn render(report: &FleetReport) -> String {
    let totals = &report.totals;
    let mut text = format!(
        "{}, {} of {}: {} usable, {} reserved, {} of it lost.\n\
         On {} something is oversize; `pfnwatch plan` there returns {} in total.\n",
        Plural(totals.hosts, "host"),
        Plural(totals.sums.namespaces, "namespace"),
        Bytes(totals.sums.size_bytes),
        Bytes(totals.sums.usable_bytes),
        Bytes(totals.sums.reservation_bytes),
        Bytes(totals.sums.excess_bytes),
        Plural(totals.oversize_hosts, "host"),
        Bytes(totals.sums.plan_bytes),
    );
    let unknown = |count: u64, what| match count {
        0 => String::new(),
        count => format!(", unknown for {}", Plural(count, what)),
    };
    let of_namespaces = unknown(totals.sums.memmap_dram_unknown, "namespace");
    // Writing to a string does not fail.
    let _ = writeln!(text, "DRAM for memmaps: {}{of_namespaces}.", Bytes(totals.sums.memmap_dram_bytes));
    if totals.sums.devices > 0 {
        let _ = writeln!(
            text,
            "{} that no namespace owns, of {}: {} online as system RAM, {} stranded; DRAM for their memmaps: {}{}.",
            Plural(totals.sums.devices, "device"),
            Bytes(totals.sums.device_size_bytes),
            Bytes(totals.sums.device_online_bytes),
            Bytes(totals.sums.device_stranded_bytes),
            Bytes(totals.sums.device_memmap_dram_bytes),
            unknown(totals.sums.device_memmap_dram_unknown, "device"),
        );
    }
    let modes: Vec<_> = report.modes.iter().map(|(mode, hosts)| format!("{hosts} {mode}")).collect();
    let _ = writeln!(text, "Guard: {}.", if modes.is_empty() { "no host".to_owned() } else { modes.join(", ") });
    let mut releases = table(&RELEASES, &[1, 2, 3, 4, 5, 6, 7]);
    releases.add_rows(report.releases.iter().map(release));
    let _ = writeln!(text, "\n{}", releases.trim_fmt());
    if !report.worst.is_empty() {
        let mut worst = table(&WORST, &[3, 4, 5]);
        worst.add_rows(report.worst.iter().map(host));
        let _ = writeln!(text, "\n{}", worst.trim_fmt());
    }
    let mut lines: Vec<String> = report.releases.iter().flat_map(regressions).collect();
    lines.extend(named("BLIND", &report.blind));
    lines.extend(named("NOT EFFECTIVE", &report.not_effective));
    lines.extend(report.shortcomings());
    if !lines.is_empty() {
        let _ = writeln!(text, "\n{}", lines.join("\n"));
    }
    text
}

fn release(release: &Release) -> [String; 9] {
    let unknown = || "?".to_owned();
    [
        if release.kernel.is_empty() { unknown() } else { release.kernel.clone() },
        release.max_struct_page_size_bytes.map_or_else(unknown, |bytes| format!("{bytes} B")),
        release.extra_bytes_per_tib.map_or_else(unknown, |bytes| Bytes(bytes).to_string()),
        release.hosts.to_string(),
        release.oversize_hosts.to_string(),
        release.namespaces.to_string(),
        Bytes(release.excess_bytes).to_string(),
        release.memmap_dram().map_or_else(unknown, |bytes| Bytes(bytes).to_string()),
        match release.memmap_returned {
            Some(true) => "yes",
            Some(false) => "no",
            None if release.memmap_loss_suspected => "suspected no",
            None => "?",
        }
        .to_owned(),
    ]
}

fn host(host: &Host) -> [String; 6] {
    [
        host.host.clone(),
        host.cluster.clone().unwrap_or_default(),
        host.kernel.clone().unwrap_or_else(|| "?".to_owned()),
        host.sums.namespaces.to_string(),
        Bytes(host.sums.excess_bytes).to_string(),
        Bytes(host.sums.plan_bytes).to_string(),
    ]
}

fn regressions(release: &Release) -> Vec<String> {
    let more = |extra: Option<u64>, of: &str| {
        let extra = extra.filter(|bytes| *bytes > 0)?;
        Some(format!(
            "REGRESSED Linux {}: {of} of 1 TiB costs {} more than under the cheapest kernel of this fleet; it runs on {}",
            release.kernel,
            Bytes(extra),
            Plural(release.hosts, "host")
        ))
    };
    let persistent = more(release.extra_bytes_per_tib, "a namespace");
    let dram = more(release.extra_dram_bytes_per_tib, "a memmap in DRAM");
    [persistent, dram, not_returned(release)].into_iter().flatten().collect()
}

fn not_returned(release: &Release) -> Option<String> {
    let (word, does) = match release.memmap_returned {
        Some(false) => ("REGRESSED", "does"),
        None if release.memmap_loss_suspected => ("SUSPECTED", "may"),
        _ => return None,
    };
    let lost = release.memmap_not_returned_bytes;
    let at_least = if release.memmap_dram().is_some() { "" } else { "at least " };
    Some(format!(
        "{word} Linux {} {does} not return a memmap in DRAM when its device is disabled: {} with {at_least}{} of such \
         memmaps; their agents have seen {} lost",
        release.kernel,
        Plural(release.hosts, "host"),
        Bytes(release.memmap_dram_bytes),
        Bytes(lost),
    ))
}

fn named(word: &str, hosts: &Truncated<String>) -> Vec<String> {
    let mut lines: Vec<String> = hosts.first.iter().map(|host| format!("{word} {host}")).collect();
    lines.extend(more(word, hosts));
    lines
}
