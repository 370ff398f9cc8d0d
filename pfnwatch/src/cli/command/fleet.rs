//! `pfnwatch fleet`: what memmaps cost on all hosts.

pub(super) mod readiness;
pub(super) mod report;
mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Subcommand, ValueEnum};

use crate::cli::fleet::prometheus::{self, Client};
use crate::cli::fleet::{Fleet, files};
use crate::cli::output::json::document;
use crate::cli::output::terminal;
use crate::model::exit::{Exit, ExitContext};

use self::report::FleetReport;

/// Options of `pfnwatch fleet`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch fleet --prometheus http://prometheus:9090
                                         what is lost, where, and under which kernel release
  pfnwatch fleet --prometheus https://metrics.example/prom --bearer-token-file token --ca-file ca.pem --format json
  pfnwatch fleet --from reports/         the same of files that `pfnwatch scan --format json` has written, one for each host
  pfnwatch fleet --from reports/ --fail-on regression
                                         for a pipeline: 3 where a kernel costs more than it did, or than another does
  pfnwatch fleet readiness --prometheus http://prometheus:9090 --days 14
                                         which hosts can go from audit to enforce with no surprise

What is missing from the sums is always said: hosts that are gone, files that are damaged, answers that are not whole. Where \
anything is, and nothing was found, the exit code is 1: a sum that may be short proves nothing.

Exit codes: 0 success; 1 error, or the sums may be short; 2 wrong usage; 3 what --fail-on names was found.")]
pub struct Args {
    /// Instead of the sums
    #[command(subcommand)]
    question: Option<Question>,
    /// Where the hosts are known
    #[command(flatten)]
    source: FleetSource,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = FleetFormat::Table)]
    format: FleetFormat,
    /// How many of the hosts that have lost the most are named
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    worst: u16,
    /// End with 3 where this is found; may be given several times
    #[arg(long, value_enum, value_name = "WHAT")]
    fail_on: Vec<Finding>,
    /// End with 0 although hosts, files or parts of answers are missing from the sums
    #[arg(long)]
    allow_incomplete: bool,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Say which hosts can go from audit to enforce with no surprise, and what speaks against it on the others
    Readiness(readiness::Args),
}

/// Where the hosts are known.
#[derive(clap::Args, Debug)]
struct FleetSource {
    /// Ask the Prometheus (or Thanos, or Mimir) at URL
    #[arg(long, value_name = "URL", conflicts_with = "from")]
    prometheus: Option<String>,
    /// Read the reports in DIR, one file of `scan --format json` for each host
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// FILE holds a token for Prometheus
    #[arg(long, value_name = "FILE", conflicts_with = "basic_auth_file")]
    bearer_token_file: Option<PathBuf>,
    /// FILE holds `user:password` for Prometheus
    #[arg(long, value_name = "FILE")]
    basic_auth_file: Option<PathBuf>,
    /// Trust the certificate authorities in FILE, in place of this host's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How long each question may take
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
            return Err(ExitContext::usage(format!("`{url}` is no URL: it begins with http:// or https://")).into());
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
            None => Err(ExitContext::usage("where are the hosts known? `--prometheus URL`, or `--from DIR`").into()),
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
        FleetFormat::Table => table::render(&report),
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
            eprintln!("error: {why}; --allow-incomplete takes it as it is");
            Ok(Exit::Error)
        }
        _ => Ok(Exit::Success),
    }
}
