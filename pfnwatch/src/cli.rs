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

/// Watches what Linux reserves of persistent memory for its memmap, and says what is lost.
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
    /// Watch this host and print an event for whatever happens to a namespace
    Run(run::Args),
    /// Say of each namespace what is reserved, what should be, and why
    Scan(scan::Args),
    /// Print how to get back what is oversize: in which order, with which commands, at whose cost
    Plan(plan::Args),
    /// Say what a namespace would cost, before it is made
    Predict(predict::Args),
    /// Print what is configured, and where each value comes from
    Config(config::Args),
    /// Say what a configuration means for the guard, and what it would have denied
    Policy(policy::Args),
    /// Say what pfnwatch needs of this host, what is there, and what to do about the rest
    Doctor(doctor::Args),
    /// Say whether a kernel carries the regression, without booting it
    Kernel(kernel::Args),
    /// Print the info block of a namespace: its fields, its checksum, and what it costs more than the ideal
    Superblock(superblock::Args),
    /// Say how the agent and its guard stand: mode, proof, policy, exemptions, counters
    Status(status::Args),
    /// Print what happened last, and why creations were denied
    Events(events::Args),
    /// Explain why a creation or an enable failed, or why a size is smaller than asked for, with the next command
    Why(why::Args),
    /// Print which alerts stand and who was told, or test a receiver
    Alerts(alerts::Args),
    /// Say what memmaps cost under this kernel and under those before it, and what costs more than it did
    Baseline(baseline::Args),
    /// Say what memmaps cost on all hosts, by Prometheus or by their reports
    Fleet(command::fleet::Args),
    /// Print or change what the guard does about an oversize creation: report it, or refuse it
    Mode(mode::Args),
    /// Let creations pass that would be denied, once or for a time
    Allow(allow::Args),
    /// Take away a guard that was left to guard without an agent
    Guard(guard::Args),
    /// Write one archive for a bug report: reports, events, saved blocks, the configuration without secrets
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
