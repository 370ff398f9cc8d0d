//! The `pfnwatch` command: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use pfnwatch::{cli::Cli, exit::Exit};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match pfnwatch::command::dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("pfnwatch: {error:#}");
            Exit::of_error(&error).into()
        }
    }
}
