//! `pfnwatch status`: the state of the agent and its guard.

mod table;

use crate::cli::socket_args::SocketArgs;
use crate::{
    cli::output::{
        json::{Format, document},
        terminal,
    },
    model::{exit::Exit, status::Status},
    os::control_client,
    os::paths::Paths,
};

/// Options of `pfnwatch status`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch status
  sudo pfnwatch status --format json | jq .enforcement_effective

Enforcement is effective if an oversize creation would be refused now: the mode is enforce, the guard is attached, was seen to \
run within the last minutes, and knows all that it judges by.

Exit codes: 0 success; 1 error, or no agent runs; 2 wrong usage; 4 the mode is enforce, and it is not effective.")]
pub struct Args {
    /// How to write the status
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the agent is
    #[command(flatten)]
    socket: SocketArgs,
}

pub fn run(args: &Args, _paths: &Paths) -> anyhow::Result<Exit> {
    let status = control_client::status(&args.socket.path)?;
    terminal::print(&match args.format {
        Format::Json => document(&status)?,
        Format::Table => table::render(&status),
    })?;
    Ok(exit(&status))
}

fn exit(status: &Status) -> Exit {
    if status.is_enforce_without_effect() { Exit::Unsupported } else { Exit::Success }
}
