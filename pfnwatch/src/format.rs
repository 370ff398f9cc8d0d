//! How a report is written.

use clap::ValueEnum;

/// How a report is written, where there is no more to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables and bars for people
    Table,
    /// One JSON document with a schema, for programs
    Json,
}
