//! The project's own commands: set-up, build, checks, VM tests.

use clap::Parser;

mod debian;
mod paths;
mod process;
mod progress;
mod vm;

#[derive(Parser)]
enum Command {
    /// Runs the end-to-end tests in virtual machines
    Vm(vm::Args),
}

fn main() -> anyhow::Result<std::process::ExitCode> {
    process::end_on_interrupt()?;
    let Command::Vm(args) = Command::parse();
    let tally = vm::run(&args)?;
    Ok(if tally.failed == 0 { 0 } else { 1 }.into())
}
