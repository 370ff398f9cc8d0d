//! The `pfnwatch` command: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use pfnwatch::{cli::Cli, exit::Exit};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr();
    match cli.run() {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("pfnwatch: {error:#}");
            Exit::of_error(&error).into()
        }
    }
}

/// What pfnwatch does and why goes to standard error, so that standard output is for events and reports alone.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
