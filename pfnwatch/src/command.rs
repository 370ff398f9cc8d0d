//! The subcommands, one a file. Each has `Args` and `run(args, paths) -> anyhow::Result<Exit>`.

pub mod doctor;
pub mod kernel;
pub mod plan;
pub mod policy;
pub mod predict;
pub mod run;
pub mod scan;
pub mod superblock;
