//! The command line: global options, and one variant for each file in `command/`, which it runs.

pub mod command;
pub mod fleet;
pub mod output;
mod socket_args;
mod store_args;

use clap::{Parser, Subcommand};

use crate::cli::command::{
    alerts, allow, baseline, config, debug_info, doctor, events, guard, kernel, mode, plan, policy, predict, run, scan,
    schema, status, superblock, why,
};
use crate::model::exit::Exit;
use crate::os::paths::Paths;

/// Report how much persistent memory and DRAM Linux takes for memmaps, and refuse namespaces that take too much.
#[derive(Debug, Parser)]
#[command(name = "pfnwatch", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// Where this host's /sys and /proc are.
    #[command(flatten)]
    pub paths: Paths,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One subcommand each; the options live with the command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent: print an event for each change of a namespace, and guard against oversize ones
    Run(run::Args),
    /// List namespaces and devices with their reservation and verdict
    Scan(scan::Args),
    /// Print the commands that rebuild oversize namespaces, in order, with what each returns
    Plan(plan::Args),
    /// Compute what a namespace would cost, before it is created
    Predict(predict::Args),
    /// Show the configuration in force, and the source of each value
    Config(config::Args),
    /// Check a configuration: what the guard would deny, and what it would have denied
    Policy(policy::Args),
    /// Check what this host lacks for observing and enforcing, and what to do about it
    Doctor(doctor::Args),
    /// Check a kernel for known defects, without booting it
    Kernel(kernel::Args),
    /// Show the fields, checksum and excess of an info block
    Superblock(superblock::Args),
    /// Show the agent status: mode, guard, policy, exemptions, counters
    Status(status::Args),
    /// List recorded events, such as denied creations with their reasons
    Events(events::Args),
    /// Explain why a creation or an enable failed, or why a size is smaller than asked for, with the next command
    Why(why::Args),
    /// List firing alerts and their receivers, or test a receiver
    Alerts(alerts::Args),
    /// Compare what memmaps cost under this kernel with earlier kernels of this host
    Baseline(baseline::Args),
    /// Sum up what memmaps cost on all hosts, from Prometheus or from their reports
    Fleet(command::fleet::Args),
    /// Show or set the guard's mode: report oversize creations (audit), or refuse them (enforce)
    Mode(mode::Args),
    /// Add, list or revoke exemptions: creations that the guard does not deny
    Allow(allow::Args),
    /// Remove a guard that stays in the kernel without an agent
    Guard(guard::Args),
    /// Write an archive for a bug report: reports, events, saved info blocks, configuration without secrets
    DebugInfo(debug_info::Args),
    /// Print the JSON schemas of events and reports
    Schema(schema::Args),
}

impl Command {
    /// Whether a thread may be left that waits in the kernel for a bind.
    #[must_use]
    pub const fn reads_sysfs(&self) -> bool {
        matches!(
            self,
            Self::Scan(_) | Self::Plan(_) | Self::Predict(_) | Self::Policy(_) | Self::Allow(_) | Self::Why(_)
        )
    }
}

impl Cli {
    pub fn run(self) -> anyhow::Result<Exit> {
        let Self { paths, command } = self;
        match command {
            Command::Run(args) => run::run(&args, &paths),
            Command::Scan(args) => scan::run(&args, &paths),
            Command::Plan(args) => plan::run(&args, &paths),
            Command::Predict(args) => predict::run(&args, &paths),
            Command::Policy(args) => policy::run(&args, &paths),
            Command::Config(args) => config::run(&args, &paths),
            Command::Doctor(args) => doctor::run(&args, &paths),
            Command::Kernel(args) => kernel::run(&args, &paths),
            Command::Superblock(args) => superblock::run(&args, &paths),
            Command::Status(args) => status::run(&args, &paths),
            Command::Events(args) => events::run(&args, &paths),
            Command::Why(args) => why::run(&args, &paths),
            Command::Alerts(args) => alerts::run(&args, &paths),
            Command::Baseline(args) => baseline::run(&args, &paths),
            Command::Fleet(args) => command::fleet::run(&args),
            Command::Mode(args) => mode::run(&args, &paths),
            Command::Allow(args) => allow::run(&args, &paths),
            Command::Guard(args) => guard::run(&args, &paths),
            Command::DebugInfo(args) => debug_info::run(&args, &paths),
            Command::Schema(args) => schema::run(&args),
        }
    }
}
