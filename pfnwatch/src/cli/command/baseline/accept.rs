//! `pfnwatch baseline accept`: what costs more than it did, and is to stay so, is the baseline from now on.

use crate::cli::output::json::Format;
use crate::cli::output::terminal;
use crate::cli::socket_args::SocketArgs;
use crate::model::capacity::BaselineScope;
use crate::model::control::{Request, Response};
use crate::model::exit::Exit;
use crate::os::control_client;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch baseline accept --host --reason 'no fixed kernel before May, see ticket 4711'
  sudo pfnwatch baseline accept --namespace namespace0.0 --reason 'is not rebuilt before the next outage'
  sudo pfnwatch baseline accept --namespace 5a1e0bb4-6d51-4e4b-9f0c-2f3f0d8f9a11 --reason 'as above'
  sudo pfnwatch baseline accept --device dax0.0 --reason 'famfs does not deduplicate'

The agent applies it at once, resolves the alert, and records an event with who and why; the event store keeps it over \
restarts and boots. Only the baseline changes: a higher cost than the accepted one is reported again, also after the cost \
was lower in between. `pfnwatch scan` still reports oversize namespaces.

Exit codes: 0 success; 1 error, or no agent runs; 2 wrong usage, or nothing to accept.")]
#[group(id = "scope", required = true, multiple = false, args = ["host", "namespace", "device"])]
pub(super) struct Args {
    /// Accept what the running kernel reserves for any namespace (alert PfnwatchCapacityRegression)
    #[arg(long)]
    host: bool,
    /// Accept what this namespace costs: its name, its namespace uuid, or its first address as 0x…
    #[arg(long, value_name = "N")]
    namespace: Option<String>,
    /// Accept what this device of the dax bus serves: its name, its serial, or its first address as 0x…
    #[arg(long, value_name = "D")]
    device: Option<String>,
    /// Reason, recorded in the event and shown in the report
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the agent is
    #[command(flatten)]
    socket: SocketArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let namespace = args.namespace.clone().map(BaselineScope::Namespace);
    let device = args.device.clone().map(BaselineScope::Device);
    let scope = namespace.or(device).unwrap_or(BaselineScope::Host);
    let request = Request::AcceptBaseline { scope, reason: args.reason.clone() };
    let Response::BaselineAccepted(accepted) = control_client::request(&args.socket.path, &request)? else {
        return Err(control_client::unexpected_response());
    };
    terminal::print(&args.format.render(&accepted, || format!("accepted: {}\n", accepted.detail))?)?;
    Ok(Exit::Success)
}
