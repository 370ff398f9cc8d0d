//! The project's own commands: set-up, build, checks, tests in virtual machines.

use std::process::ExitCode;

use anyhow::Result;
use architecture::Architecture;
use clap::{Parser, Subcommand};

mod architecture;
mod bench;
mod build_ebpf;
mod check;
mod debian;
mod deny;
mod dependencies;
mod dist;
mod docs;
mod fuzz;
mod paths;
mod peers;
mod picture;
mod process;
mod reproduce;
mod setup;
mod soak;
mod test;
mod tidy;
mod toolchain;
mod traces;
mod vm;

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
    #[command(after_help = "Example: cargo xtask build && sudo target/debug/pfnwatch doctor")]
    Build(BuildArgs),
    /// Check formatting, clippy for host and eBPF target, documentation, and the rules of the source tree
    #[command(after_help = "Example: cargo xtask check --imports")]
    Check(check::Args),
    /// Check licences, bans and sources of all dependencies with cargo-deny, and known vulnerabilities where the network allows
    #[command(after_help = "Example: cargo xtask deny")]
    Deny,
    /// Build the eBPF programs a second time in another folder: the object has to be the same file
    #[command(after_help = "Example: cargo xtask reproduce")]
    Reproduce,
    /// Run the end-to-end tests in virtual machines
    #[command(after_help = "Example: cargo xtask vm --kernel 6.12 -- burst")]
    Vm(vm::Args),
    /// Do whatever can be done to namespaces, libnvdimm and the agent by chance, and hold the event store against what was done
    #[command(after_help = "Example: cargo xtask soak --minutes 20 --kernel 6.1")]
    Soak(soak::Args),
    /// Fuzz what reads bytes from outside: each target for a minute by default
    #[command(after_help = "Example: cargo xtask fuzz inventory --seconds 600")]
    Fuzz(fuzz::Args),
    /// Measure, and hold what was measured against the budgets of the design
    #[command(after_help = "Example: cargo xtask bench scan")]
    Bench(bench::Args),
    /// Show the regression: the agent and a scan on a sound kernel, and on one that reserves twice as much
    ///
    /// Boots two virtual machines one after the other, and makes three namespaces with ndctl in each. Everything shown
    /// is the output of pfnwatch there.
    #[command(after_help = "Example: cargo xtask demo")]
    Demo,
    /// Look at the agent's web page in Chromium, and scrape its metrics with Prometheus
    ///
    /// Installs Chromium where it is missing, as `setup` does with other Debian packages, and leaves screenshots under
    /// target/screenshots.
    #[command(after_help = "Example: cargo xtask web")]
    Web,
    /// Try alerts against a real Alertmanager, which is fetched and not installed
    #[command(after_help = "Example: cargo xtask alerts")]
    Alerts,
    /// Build the Debian package with its checksums, into target/dist; with --all every artefact
    #[command(after_help = "Example: cargo xtask dist && sudo apt install ./target/dist/pfnwatch_*.deb")]
    Dist(dist::Args),
    /// Compare the documents for users with the code, and with the output of their commands in virtual machines
    #[command(after_help = "Example: cargo xtask docs --update")]
    Docs(docs::Args),
    /// Have a real Prometheus and a real Alertmanager watch thousands of made-up hosts, and roll a regressed kernel out there
    #[command(after_help = "Example: cargo xtask fleet-sim --hosts 1000")]
    FleetSim(peers::FleetArgs),
    /// Run everything that a change has to pass: checks, unit tests, and the end-to-end tests on each kernel
    #[command(after_help = "Example: cargo xtask test --quick")]
    Test(test::Args),
}

#[derive(clap::Args)]
struct BuildArgs {
    /// Build the agent as it is shipped: a static program with optimisations, whose path is printed
    #[arg(long)]
    release: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
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
            setup::for_unit_tests()?;
            println!("all that the build and the tests need is here");
        }
        Command::Build(BuildArgs { release: true }) => {
            build(Architecture::HOST)?;
            println!("{}", paths::agent().display());
        }
        Command::Build(BuildArgs { release: false }) => object().and_then(|()| build_ebpf::debug_agent())?,
        Command::Check(args) => check::run(&args)?,
        Command::Deny => deny::run()?,
        Command::Reproduce => object().and_then(|()| reproduce::run())?,
        Command::Vm(args) => {
            setup::for_vm()?;
            if args.arch == Architecture::Arm64 {
                setup::for_arm64_guests()?;
            }
            build(args.arch)?;
            return Ok(if vm::run(&args)?.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Soak(args) => {
            setup::for_vm()?;
            build(Architecture::HOST)?;
            return soak::run(&args);
        }
        Command::Fuzz(args) => fuzz::run(&args)?,
        Command::Bench(args) => return bench::run(&args),
        Command::Demo => vm::demo::run()?,
        Command::Web => {
            object().and_then(|()| peers::web().0)?;
            println!("screenshots are in {}", peers::screenshots().display());
        }
        Command::Alerts => object().and_then(|()| peers::alerts().0)?,
        Command::Dist(dist::Args { all: false }) => {
            build(Architecture::HOST)?;
            setup::for_dist()?;
            dist::run()?;
        }
        Command::Dist(dist::Args { all: true }) => {
            setup::for_all_dist()?;
            Architecture::ALL.into_iter().try_for_each(build)?;
            dist::all()?;
        }
        Command::Docs(args) => return docs::run(&args),
        Command::FleetSim(args) => build(Architecture::HOST).and_then(|()| peers::fleet(&args).0)?,
        // Its set-up is a stage of its own, with a limit.
        Command::Test(args) => return test::run(&args),
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the eBPF programs for this host, with what that needs.
fn object() -> Result<()> {
    setup::for_build()?;
    build_ebpf::run(Architecture::HOST)
}

/// Builds the agent as it is shipped, with what that needs.
fn build(architecture: Architecture) -> Result<()> {
    setup::for_build()?;
    setup::for_release(architecture)?;
    build_ebpf::run(architecture)?;
    build_ebpf::agent(architecture)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_argument_has_a_help_text() {
        for command in Cli::command().get_subcommands() {
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{}: {argument}", command.get_name());
            }
        }
    }
}
