//! `pfnwatch fleet readiness`: from audit to enforce with no surprise.

use std::fmt::Write as _;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::FleetSource;
use crate::cli::fleet::prometheus::{Readiness, Reason, readiness};
use crate::cli::output::json::Format;
use crate::cli::output::terminal;
use crate::model::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  pfnwatch fleet readiness --prometheus http://prometheus:9090
  pfnwatch fleet readiness --prometheus http://prometheus:9090 --days 30 --format json | jq -r '.hosts[] | select(.ready).host'

A host is ready if its agent ran for at least 95 % of that time, its guard was seen to work and would have denied nothing, \
its kernel's reservation for each page is known, and the agent observes now. If a host would have denied something, \
`pfnwatch events --kind would_deny` lists what, and who asked for it.

Exit codes: 0 all hosts are ready; 1 error, or no host is known, or an answer was not whole; 2 wrong usage; 3 some are not ready.")]
pub(super) struct Args {
    #[command(flatten)]
    source: FleetSource,
    /// How many days a host must have been without a would-denial
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Which hosts can go from audit to enforce with no surprise.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::cli::command) struct ReadinessReport {
    /// So many days were asked about.
    days: u32,
    /// How many hosts are ready.
    ready_hosts: usize,
    /// How many enforce already.
    enforcing_hosts: usize,
    /// Every host that has an agent.
    hosts: Vec<Readiness>,
    /// Warnings that Prometheus sent with its answers: they may be incomplete.
    warnings: Vec<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let (hosts, warnings) = readiness(&args.source.client()?, args.days)?;
    let count = |is: fn(&Readiness) -> bool| hosts.iter().filter(|host| is(host)).count();
    let report = ReadinessReport {
        days: args.days,
        ready_hosts: count(|host| host.ready),
        enforcing_hosts: count(|host| host.enforces),
        warnings: warnings.into_iter().collect(),
        hosts,
    };
    terminal::print(&args.format.render(&report, || table(&report))?)?;
    Ok(if report.ready_hosts < report.hosts.len() {
        Exit::Findings
    } else if report.hosts.is_empty() || !report.warnings.is_empty() {
        eprintln!("error: this may not be all hosts: Prometheus knows of no agent, or has not answered in full");
        Exit::Error
    } else {
        Exit::Success
    })
}

fn table(report: &ReadinessReport) -> String {
    let mut text = format!(
        "{} of {} hosts are ready for enforce, by the last {} days; {} enforce already.\n",
        report.ready_hosts,
        report.hosts.len(),
        report.days,
        report.enforcing_hosts
    );
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["HOST", "CLUSTER", "NOT READY BECAUSE"]);
    for host in report.hosts.iter().filter(|host| !host.ready) {
        let reasons: Vec<String> = host.reasons.iter().map(describe).collect();
        table.add_row([host.host.clone(), host.cluster.clone().unwrap_or_default(), reasons.join("; ")]);
    }
    // Writing to a string does not fail.
    if !table.is_empty() {
        let _ = writeln!(text, "\n{}", table.trim_fmt());
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "WARNING {warning}");
    }
    text
}

fn describe(reason: &Reason) -> String {
    match reason {
        Reason::Gone => "its agent was scraped within the last day, and is gone".to_owned(),
        Reason::SeldomReached { reached_percent } => format!("its agent answered {reached_percent} % of the scrapes"),
        Reason::WouldDeny { creations } => format!("it would have denied about {creations} creations"),
        Reason::NotJudging => "its guard did not judge all the time".to_owned(),
        Reason::Blind => "its agent does not observe".to_owned(),
        Reason::KernelUnknown => "what its kernel reserves for each page is not known".to_owned(),
        Reason::NotWatchedLongEnough => "it has not been watched for that long".to_owned(),
    }
}
