//! `pfnwatch policy`: what a configuration means for the guard, before it is in force.

pub(super) mod check;
mod creation;
mod events;
pub(super) mod explanation;
mod host;
mod table;

use clap::Subcommand;

use crate::model::exit::Exit;
use crate::os::paths::Paths;

/// Options of `pfnwatch policy`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to do with it.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate a configuration and say in words what it means; with --against, what it would have denied
    Check(check::Args),
}

pub fn run(args: &Args, paths: &Paths) -> anyhow::Result<Exit> {
    match &args.command {
        Command::Check(args) => check::run(args, paths),
    }
}
