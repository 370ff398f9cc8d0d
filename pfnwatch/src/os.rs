//! The operating system around the agent: paths, clocks, privileges, systemd, file descriptors, exit codes.

pub mod abandonable;
pub mod async_fd;
pub mod clock;
pub mod control_client;
pub mod control_socket;
mod exit;
pub mod interval;
pub mod kernel_log;
pub mod memory_trim;
pub mod paths;
pub mod privileges;
pub mod reader_group;
pub mod signals;
pub mod sysconf;
pub mod systemd;
