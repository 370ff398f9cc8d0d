//! `pfnwatch alerts`: firing alerts, their receivers, and a test of a receiver.

use std::fmt::Write as _;
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use comfy_table::{Table, presets};
use nix::unistd::gethostname;
use serde::Serialize;

use crate::cli::output::json::{Format, document};
use crate::cli::output::terminal;
use crate::cli::socket_args::SocketArgs;
use crate::config::ConfigArgs;
use crate::export::alerts::{DeliveryResult, Message, post, render, test_alert};
use crate::model::alert::DeliveryStats;
use crate::model::control::{AlertsStatus, FiringAlertStatus, PendingMessage, Request, Response};
use crate::model::exit::{Exit, ExitContext};
use crate::os::control_client;
use crate::os::paths::Paths;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch alerts list                firing alerts, and messages that are not delivered yet
  sudo pfnwatch alerts test alertmanager   send a test alert to one receiver of the configuration

Receivers are configured under [[alerts.receivers]]. runbook.md (in /usr/share/doc/pfnwatch) explains each alert.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// List firing alerts, and messages that are not delivered yet
    List(List),
    /// Send a test alert to a receiver, and print its answer
    Test(Test),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  sudo pfnwatch alerts list --format json | jq '.firing[].labels'

Exit codes: 0 no alert is firing; 1 error, or no agent runs; 2 wrong usage; 3 at least one alert is firing.")]
struct List {
    /// How to write them
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the agent is
    #[command(flatten)]
    socket: SocketArgs,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  sudo pfnwatch alerts test alertmanager

It sends the alert PfnwatchTest itself: no agent is needed. Alertmanager takes it for resolved after 8 minutes.

Exit codes: 0 the receiver has it; 1 it did not take it; 2 wrong usage, or no such receiver.")]
struct Test {
    /// The receiver's name in the configuration
    receiver: String,
    /// How to write the outcome
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Which configuration
    #[command(flatten)]
    config: ConfigArgs,
}

pub fn run(args: &Args, _paths: &Paths) -> anyhow::Result<Exit> {
    match &args.command {
        Command::List(args) => list(args),
        Command::Test(args) => test(args),
    }
}

fn list(args: &List) -> anyhow::Result<Exit> {
    let Response::Alerts(are) = control_client::request(&args.socket.path, &Request::Alerts)? else {
        return Err(control_client::unexpected_response());
    };
    terminal::print(&args.format.render(&are, || list_text(&are))?)?;
    Ok(if are.firing.is_empty() { Exit::Success } else { Exit::Findings })
}

/// What came of a test, as JSON.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct TestResult<'a> {
    /// The receiver's name.
    receiver: &'a str,
    /// Whether it accepted the test.
    accepted: bool,
    /// Why not.
    error: Option<&'a str>,
}

fn test(args: &Test) -> anyhow::Result<Exit> {
    let policy = args.config.read()?.alerts();
    let Some(receiver) = policy.receivers.iter().find(|it| it.name == args.receiver) else {
        let names: Vec<_> = policy.receivers.iter().map(|it| &*it.name).collect();
        let known = if names.is_empty() { "none is".to_owned() } else { format!("there is {}", names.join(", ")) };
        return Err(anyhow!(ExitContext::usage(format!("no receiver {} is configured: {known}", args.receiver))));
    };
    let instance = gethostname().context("this host's name")?.to_string_lossy().into_owned();
    let now = SystemTime::now();
    let alert = test_alert(&instance, &policy.runbook);
    let message = Message { receiver: receiver.name.clone(), alert, since: now, ended: None };
    let outcome = post(receiver, &render(receiver.kind, &[message], now));
    if args.format == Format::Json {
        let tested = TestResult { receiver: &receiver.name, accepted: outcome.is_delivered(), error: outcome.error() };
        terminal::print(&document(&tested)?)?;
    }
    match outcome {
        DeliveryResult::Delivered if args.format == Format::Table => {
            terminal::print(&format!("{} has it\n", receiver.name))?
        }
        DeliveryResult::Delivered => {}
        DeliveryResult::Rejected(why) | DeliveryResult::Failed { why, .. } => {
            return Err(anyhow!("{} did not accept the test: {why}", receiver.name));
        }
    }
    Ok(Exit::Success)
}

fn list_text(are: &AlertsStatus) -> String {
    let mut text = String::new();
    if are.firing.is_empty() {
        text.push_str("no alert is firing\n");
    } else {
        text.push_str(&table(["ALERT", "SEVERITY", "SINCE", "ABOUT", "SUMMARY"], are.firing.iter().map(firing)));
        for alert in &are.firing {
            // Writing to a String does not fail.
            let _ = write!(text, "\n{}: {}\n", alert.alert.name, alert.alert.annotation("description"));
        }
    }
    if are.omitted > 0 {
        let _ = write!(text, "\n{} more alerts are left out: `pfnwatch scan` shows all namespaces\n", are.omitted);
    }
    if are.receivers.is_empty() {
        text.push_str(
            "\nalerts are sent to nobody: no receiver is configured, see [[alerts.receivers]] in the configuration\n",
        );
    } else {
        let head = ["RECEIVER", "DELIVERED", "FAILED", "GIVEN UP", "PENDING", "ERROR"];
        let _ = write!(text, "\n{}", table(head, are.receivers.iter().map(receiver)));
    }
    if !are.waiting.is_empty() {
        let head = ["WAITS FOR", "ALERT", "STATE", "ATTEMPTS", "SAVED"];
        let _ = write!(text, "\n{}", table(head, are.waiting.iter().map(waiting)));
    }
    text
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    format!("{}\n", table.trim_fmt())
}

fn firing(it: &FiringAlertStatus) -> [String; 5] {
    let label = |name: &str| it.alert.labels.get(name).cloned();
    let about = ["namespace_uuid", "start_address", "namespace"].into_iter().find_map(label);
    let severity = label("severity").unwrap_or_default();
    let summary = it.alert.annotation("summary").to_owned();
    [it.alert.name.to_string(), severity, it.since.clone(), about.unwrap_or_else(|| "this host".to_owned()), summary]
}

fn receiver(it: &DeliveryStats) -> [String; 6] {
    let [delivered, failed, given_up, pending] =
        [it.delivered, it.failed, it.given_up, it.pending].map(|count| count.to_string());
    [it.receiver.clone(), delivered, failed, given_up, pending, it.error.clone().unwrap_or_else(|| "-".to_owned())]
}

fn waiting(it: &PendingMessage) -> [String; 5] {
    let saved = if it.saved { "in the event store" } else { "in memory only" };
    [it.receiver.clone(), it.alert.clone(), it.state.clone(), it.attempts.to_string(), saved.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::alert::{Alert, AlertName};

    #[test]
    fn firing_alerts_and_pending_receivers() {
        assert!(list_text(&AlertsStatus::default()).starts_with("no alert is firing\n\nalerts are sent to nobody"));
        let alert =
            Alert::new(AlertName::NamespaceOversize, "host1", Some(("start_address", "0x100000000".to_owned())));
        let alert = alert.with_annotations("it wastes 16 MiB".to_owned(), "16777216 bytes".to_owned(), String::new());
        let since = "2026-01-02T03:04:05Z".to_owned();
        let are = AlertsStatus {
            firing: vec![FiringAlertStatus { fingerprint: alert.fingerprint(), since, alert }],
            omitted: 44,
            receivers: vec![DeliveryStats { receiver: "am".to_owned(), pending: 1, ..DeliveryStats::default() }],
            waiting: vec![PendingMessage {
                receiver: "am".to_owned(),
                alert: "PfnwatchNamespaceOversize".to_owned(),
                fingerprint: "00".to_owned(),
                state: "firing".to_owned(),
                attempts: 3,
                saved: false,
            }],
        };
        let text = list_text(&are);
        for part in [
            "warning",
            "0x100000000",
            "it wastes 16 MiB",
            "PfnwatchNamespaceOversize: 16777216 bytes",
            "in memory only",
            "44 more alerts",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
