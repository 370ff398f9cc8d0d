//! The subcommands, one a file. Each has `Args` and `run(args, paths) -> anyhow::Result<Exit>`.

pub mod doctor;
pub mod kernel;
pub mod plan;
pub mod predict;
pub mod run;
pub mod scan;
pub mod superblock;

use crate::{
    cli::{Cli, Command},
    exit::Exit,
};

/// Runs the subcommand that was asked for.
///
/// # Errors
/// Whatever the subcommand could not do, with its context; [`Exit::of_error`] gives the exit code.
pub fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let Cli { paths, command } = cli;
    match command {
        Command::Run(args) => run::run(&args, &paths),
        Command::Scan(args) => scan::run(&args, &paths),
        Command::Plan(args) => plan::run(&args, &paths),
        Command::Predict(args) => predict::run(&args, &paths),
        Command::Doctor(args) => doctor::run(&args, &paths),
        Command::Kernel(args) => kernel::run(&args, &paths),
        Command::Superblock(args) => superblock::run(&args, &paths),
    }
}
