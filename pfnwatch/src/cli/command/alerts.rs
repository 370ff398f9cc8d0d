//! `pfnwatch alerts`: firing alerts, their receivers, and a test of a receiver.

mod table;

use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use nix::unistd::gethostname;
use serde::Serialize;

use crate::cli::output::json::{Format, document};
use crate::cli::output::terminal;
use crate::cli::socket_args::SocketArgs;
use crate::config::ConfigArgs;
use crate::export::alerts::{DeliveryResult, Message, post, render, test_alert};
use crate::model::control::{Request, Response};
use crate::model::exit::{Exit, ExitContext};
use crate::os::control_client;
use crate::os::paths::Paths;

/// Options of `pfnwatch alerts`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch alerts list                what stands, and what waits for whom
  sudo pfnwatch alerts test alertmanager   sends a test to one receiver of the configuration

Receivers stand in the configuration, under [[alerts.receivers]]. runbook.md (in /usr/share/doc/pfnwatch) says what each alert means.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Print the alerts that stand, and the messages that wait
    List(List),
    /// Send a test to a receiver, and print what it answers
    Test(Test),
}

/// Options of `pfnwatch alerts list`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  sudo pfnwatch alerts list --format json | jq '.standing[].labels'

Exit codes: 0 nothing stands; 1 error, or no agent runs; 2 wrong usage; 3 at least one alert stands.")]
struct List {
    /// How to write them
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the agent is
    #[command(flatten)]
    socket: SocketArgs,
}

/// Options of `pfnwatch alerts test`.
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
    terminal::print(&match args.format {
        Format::Json => document(&are)?,
        Format::Table => table::render(&are),
    })?;
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
            return Err(anyhow!("{} does not take the test: {why}", receiver.name));
        }
    }
    Ok(Exit::Success)
}
