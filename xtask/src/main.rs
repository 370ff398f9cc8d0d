//! The project's own commands: set-up, build, checks, tests in VMs.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

mod build_ebpf;
mod debian;
mod paths;
mod process;
mod progress;
mod setup;
mod toolchain;

/// The project's own commands. Each installs first what it needs and does not find.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install whatever the build and the VM tests need and this host lacks
    ///
    /// bpf-linker and Rust's library sources go under target/, Debian packages (QEMU, ndctl and some tools) into the
    /// system: for these it has to be root, or able to `sudo` without a password.
    #[command(after_help = "Example: cargo xtask setup")]
    Setup,
    /// Build the eBPF programs, then the agent with them inside
    #[command(after_help = "Example: cargo xtask build --release && sudo target/release/pfnwatch doctor")]
    Build(BuildArgs),
}

#[derive(Args)]
struct BuildArgs {
    /// Build the agent with optimisations, into target/release
    #[arg(long)]
    release: bool,
}

fn main() -> ExitCode {
    match process::end_on_interrupt().and_then(|()| run(Cli::parse().command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup => {
            setup::for_vm()?;
            println!("all that the build and the VM tests need is here");
            Ok(ExitCode::SUCCESS)
        }
        Command::Build(args) => {
            setup::for_build()?;
            build_ebpf::run()?;
            build_ebpf::agent(args.release)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
