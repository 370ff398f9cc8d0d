//! `pfnwatch doctor`: what this host offers.

use crate::{cli::Paths, exit::Exit};

/// Options of `pfnwatch doctor`.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// None yet.
pub fn run(_args: &Args, _paths: &Paths) -> anyhow::Result<Exit> {
    Ok(Exit::Fine)
}
