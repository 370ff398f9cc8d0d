//! The subcommands, one a file. Each has `Args` and `run(args, paths) -> anyhow::Result<Exit>`.

pub mod alerts;
pub mod allow;
pub mod baseline;
pub mod config;
pub mod debug_info;
pub mod doctor;
pub mod events;
pub mod fleet;
pub mod guard;
pub mod kernel;
pub mod mode;
pub mod plan;
pub mod policy;
pub mod predict;
#[cfg(test)]
pub(crate) mod report_schemas;
pub mod run;
pub mod scan;
pub mod schema;
pub mod status;
pub mod superblock;
pub mod why;
