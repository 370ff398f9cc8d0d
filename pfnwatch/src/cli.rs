//! The command line: global options, and one variant for each file in `command/`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::command;

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

/// Where the host's pseudo file systems are mounted: elsewhere than usual in a container, and in tests.
#[derive(Args, Clone, Debug)]
pub struct Paths {
    /// Where sysfs is mounted
    #[arg(long = "path.sysfs", value_name = "DIR", default_value = "/sys", global = true)]
    pub sysfs: PathBuf,
    /// Where procfs is mounted
    #[arg(long = "path.procfs", value_name = "DIR", default_value = "/proc", global = true)]
    pub procfs: PathBuf,
}

/// One subcommand each; the options live with the command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this host and print an event for whatever happens to a namespace
    Run(command::run::Args),
    /// Say of each namespace what is reserved, what should be, and why
    Scan(command::scan::Args),
    /// Print how to get back what is oversize: in which order, with which commands, at whose cost
    Plan(command::plan::Args),
    /// Say what a namespace would cost, before it is made
    Predict(command::predict::Args),
    /// Say what pfnwatch needs of this host, what is there, and what to do about the rest
    Doctor(command::doctor::Args),
    /// Say whether a kernel carries the regression, without booting it
    Kernel(command::kernel::Args),
    /// Print the info block of a namespace: its fields, its checksum, and what it costs more than the ideal
    Superblock(command::superblock::Args),
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and bars for people
    Table,
    /// One JSON document with a schema, for programs
    Json,
    /// Comma-separated values with a header line
    Csv,
}
