//! What `cargo xtask bench guard` and `bench agent` measure in a guest: words and numbers that both sides know, and the work itself.
//!
//! The guest runs under `-icount shift=0`: each instruction takes a nanosecond of the guest's clock, so that times are
//! counts of instructions, and the same from one run to the next but for what else the kernel does meanwhile.

use serde::{Deserialize, Serialize};

pub mod agent;
pub mod footprint;
pub mod ground;

/// bpftrace in the guest of `bench agent`.
pub const TRACER: &str = "/bin/bpftrace";

/// What is on the guard's hook during a storm.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// Nothing.
    None,
    /// A program that does nothing.
    Empty,
    /// The guard in audit mode, by its defaults: nothing that this kernel reserves is oversize.
    Audit,
    /// The guard in audit mode, with half the kernel's struct page size as the reference: map=dev is oversize.
    AuditOversize,
    /// The same in enforce mode.
    EnforceOversize,
}

/// What is done over and over.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// cgroups are made and removed: nodes that are no links.
    Cgroups,
    /// Loop devices are made and removed: a block device's folder, with attributes and links.
    Devices,
    /// A device that has nothing to do with memmaps is bound, which its driver refuses: two links, one of them "driver".
    OtherBind,
    /// A seed that is configured with map=dev is bound, which the kernel refuses as the region is read-only: two links,
    /// one of them "driver", and a judgement.
    Creation,
}

/// The same work over and over, under one setting.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Measurement {
    /// What was on the hook.
    pub setting: Setting,
    /// What was done.
    pub work: Work,
    /// How often in a round.
    pub times: u16,
    /// The rounds.
    pub rounds: Vec<Round>,
}

/// One round, done twice: once as it is, and once with the kernel counting the runs of programs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Round {
    /// The whole work as it is, in instructions of the thread that did it, the kernel's part included.
    pub work_instructions: u64,
    /// Runs of the program on the hook.
    pub runs: u64,
    /// Instructions of these runs, those of the counting itself included.
    pub run_instructions: u64,
}
