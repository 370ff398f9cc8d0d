//! What runs inside a test guest besides the tests themselves: its PID 1, and the helpers that the tests share.
//!
//! `cargo xtask vm` boots a guest whose `/init` is [`init`]. It reads its [`boot_config`], selects the tests that count
//! there by the table in [`scope`], runs each in a process of its own, and sends a [`report`] of each to the host.
//!
//! A test starts with [`regions::fresh`], makes namespaces by [`creation`] (fast, through sysfs) or [`ndctl`] (the real
//! tool), and compares the output of [`agent`] with [`sysfs`] and the raw [`infoblock`]. Tests of the guard start the
//! agent by [`guard`] with a [`policy`].

pub mod agent;
pub mod bench;
pub mod boot_config;
pub mod bpf;
pub mod churn;
pub mod command;
pub mod container;
pub mod creation;
pub mod cxl;
pub mod debian;
pub mod disk;
pub mod dmesg;
pub mod documents;
pub mod events;
pub mod facts;
pub mod formula;
pub mod free_memory;
pub mod guard;
pub mod hidden_store;
pub mod infoblock;
pub mod init;
pub mod kernel_lines;
pub mod modules;
pub mod monitoring;
pub mod namespace;
pub mod ndctl;
pub mod pfnwatch;
pub mod policy;
pub mod regions;
pub mod report;
#[path = "../../pfnwatch/tests/support/schema.rs"]
pub mod schema;
pub mod scope;
pub mod soak;
pub mod stacked;
pub mod sysfs;
pub mod sysfs_load;
pub mod wait;
pub mod web;
pub mod webhook;

/// The size of a page of the running kernel.
pub fn page_bytes() -> std::io::Result<u64> {
    let bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.unwrap_or_default();
    u64::try_from(bytes).map_err(std::io::Error::other)
}

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;
