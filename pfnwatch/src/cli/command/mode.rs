//! `pfnwatch mode`: what the guard does about an oversize creation.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::output::json::Format;
use crate::cli::output::terminal;
use crate::cli::socket_args::SocketArgs;
use crate::model::control::{ModeResponse, Request, Response};
use crate::model::exit::Exit;
use crate::model::policy::Mode;
use crate::model::status::{ModeStatus, Status};
use crate::os::control_client;
use crate::os::paths::Paths;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch mode                                     which mode is in force, since when, set by whom
  sudo pfnwatch mode enforce --reason 'rollout, step 2'  refuse oversize creations from now on
  sudo pfnwatch mode audit --reason 'restore of db3'     report them only

A change is in force when the command ends, and it is an event. It lasts until the policy is read again (SIGHUP) or the \
agent ends, unless the guard is held: a lasting mode belongs into the policy. Where enforce cannot work nothing is changed.

Exit codes: 0 success; 1 error, or no agent runs; 2 wrong usage; 4 this host cannot enforce.")]
pub struct Args {
    /// The mode from now on; without it the mode is printed
    #[arg(value_enum)]
    mode: Option<Mode>,
    /// Why: it stands in the event
    #[arg(long, value_name = "TEXT", requires = "mode")]
    reason: Option<String>,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the agent is
    #[command(flatten)]
    socket: SocketArgs,
}

/// Runs the command.
///
/// # Errors
/// The agent cannot be asked, or refuses: exit code 4 if this host cannot enforce.
pub fn run(args: &Args, _paths: &Paths) -> anyhow::Result<Exit> {
    let text = match args.mode {
        Some(mode) => change(args, mode)?,
        None => show(args)?,
    };
    terminal::print(&text)?;
    Ok(Exit::Success)
}

fn change(args: &Args, mode: Mode) -> anyhow::Result<String> {
    let request = Request::Mode { mode, reason: args.reason.clone() };
    let Response::Mode(is) = control_client::request(&args.socket.path, &request)? else {
        return Err(control_client::unexpected_response());
    };
    Ok(args.format.render(&is, || changed(is))?)
}

fn changed(ModeResponse { mode, previous_mode }: ModeResponse) -> String {
    if mode == previous_mode {
        format!("{mode}, as before\n")
    } else {
        format!("{mode} from now on; it was {previous_mode}\n")
    }
}

/// The mode as JSON.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ModeDocument<'a> {
    #[serde(flatten)]
    mode: &'a ModeStatus,
    /// Whether the guard was seen to work, so that enforce means something.
    enforcement_effective: bool,
    /// Why not.
    ineffective_reason: Option<&'a str>,
}

fn show(args: &Args) -> anyhow::Result<String> {
    let status = control_client::status(&args.socket.path)?;
    let document = ModeDocument {
        mode: &status.mode,
        enforcement_effective: status.enforcement_effective,
        ineffective_reason: status.ineffective_reason.as_deref(),
    };
    Ok(args.format.render(&document, || shown(&status))?)
}

fn shown(status: &Status) -> String {
    let mut text = sentence(&status.mode);
    if status.is_enforce_without_effect() {
        // Writing to a String does not fail.
        let _ = write!(text, "\nNOT EFFECTIVE: {}", status.ineffective_reason.as_deref().unwrap_or("no reason known"));
    }
    text + "\n"
}

/// `audit since 2026-01-02T03:04:05Z, set by …: reason`.
pub(super) fn sentence(mode: &ModeStatus) -> String {
    let reason = mode.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{} since {}, set by {}{reason}", mode.mode, mode.since, mode.by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_from_none() {
        assert_eq!(changed(ModeResponse { mode: Mode::Audit, previous_mode: Mode::Audit }), "audit, as before\n");
        assert_eq!(
            changed(ModeResponse { mode: Mode::Enforce, previous_mode: Mode::Audit }),
            "enforce from now on; it was audit\n"
        );
    }
}
