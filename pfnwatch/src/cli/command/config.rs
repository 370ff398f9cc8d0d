//! `pfnwatch config`: what is configured.

pub(super) mod show;

use crate::model::exit::Exit;
use crate::os::paths::Paths;

/// Options of `pfnwatch config`.
#[derive(clap::Args, Debug)]
#[command(arg_required_else_help = true)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Print what is in force: defaults, the configuration and its drop-ins in one
    Show(show::Args),
}

pub fn run(args: &Args, _paths: &Paths) -> anyhow::Result<Exit> {
    let Command::Show(args) = &args.command;
    show::run(args)
}
