//! `pfnwatch run`: the agent.

use crate::{cli::Paths, exit::Exit};

/// Options of `pfnwatch run`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// None yet.
pub fn run(_args: &Args, _paths: &Paths) -> anyhow::Result<Exit> {
    Ok(Exit::Fine)
}
