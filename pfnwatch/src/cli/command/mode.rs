//! `pfnwatch mode`: what the guard does about an oversize creation.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::output::json::Format;
use crate::cli::output::terminal;
use crate::cli::socket_args::SocketArgs;
use crate::model::control::{ModeResponse, Request, Response};
use crate::model::exit::Exit;
use crate::model::policy::{Mode, ModeChoice};
use crate::model::status::{ModeStatus, Status};
use crate::os::control_client;
use crate::os::paths::Paths;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch mode                                     show the mode in force, since when, and who set it
  sudo pfnwatch mode enforce --reason 'rollout, step 2'  refuse oversize creations from now on
  sudo pfnwatch mode audit --reason 'restore of db3'     report them only
  sudo pfnwatch mode configured                          use the configuration's mode again, now and after each reload

A change is in force when the command ends, and it is an event. It outlives a reload of the configuration, and with \
on_agent_exit = \"hold\" a restart of the agent as well, until a person changes it. If this kernel cannot enforce, nothing is \
changed.

Exit codes: 0 success; 1 error, or no agent runs; 2 wrong usage; 4 enforce is not effective, or this host cannot enforce.")]
pub struct Args {
    /// The new mode; without it, the mode in force is printed
    #[arg(value_enum)]
    mode: Option<ModeChoice>,
    /// Reason, recorded in the event
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
    let (text, exit) = match args.mode {
        Some(mode) => change(args, mode)?,
        None => (show(args)?, Exit::Success),
    };
    terminal::print(&text)?;
    Ok(exit)
}

fn change(args: &Args, mode: ModeChoice) -> anyhow::Result<(String, Exit)> {
    let request = Request::Mode { mode, reason: args.reason.clone() };
    let Response::Mode(is) = control_client::request(&args.socket.path, &request)? else {
        return Err(control_client::unexpected_response());
    };
    let is_effective = is.mode == Mode::Audit || is.ineffective_reason.is_none();
    let text = args.format.render(&is, || changed(&is))?;
    Ok((text, if is_effective { Exit::Success } else { Exit::Unsupported }))
}

fn changed(ModeResponse { mode, previous_mode, ineffective_reason }: &ModeResponse) -> String {
    let text = if mode == previous_mode {
        format!("{mode}, as before\n")
    } else {
        format!("{mode} from now on; it was {previous_mode}\n")
    };
    match ineffective_reason {
        Some(reason) if *mode == Mode::Enforce => format!("{text}NOT EFFECTIVE: {reason}\n"),
        _ => text,
    }
}

/// The mode as JSON.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ModeDocument<'a> {
    #[serde(flatten)]
    mode: &'a ModeStatus,
    /// Whether an oversize creation would be refused now.
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
    if let Some(configured) = status.mode.overridden() {
        let _ = write!(text, "\nNOT THE CONFIGURATION'S ({configured}): `pfnwatch mode configured` returns to it");
    }
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
        let said = |mode, previous_mode, reason: Option<&str>| {
            changed(&ModeResponse { mode, previous_mode, ineffective_reason: reason.map(str::to_owned) })
        };
        assert_eq!(said(Mode::Audit, Mode::Audit, Some("the mode is audit")), "audit, as before\n");
        assert_eq!(said(Mode::Enforce, Mode::Audit, None), "enforce from now on; it was audit\n");
        let said = said(Mode::Enforce, Mode::Audit, Some("libnvdimm is not loaded"));
        assert_eq!(said, "enforce from now on; it was audit\nNOT EFFECTIVE: libnvdimm is not loaded\n");
    }
}
