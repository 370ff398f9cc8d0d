//! What `cargo xtask bench guard`, `bench agent` and `bench ndctl` measure in a guest: words and numbers that both sides know, and the work itself.
//!
//! The guest runs under `-icount shift=0`: each instruction takes a nanosecond of the guest's clock, so that times are
//! counts of instructions, and the same from one run to the next but for what else the kernel does meanwhile.

pub mod cost;
pub mod footprint;
pub mod ground;
pub mod tracer;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::cost::Cost;
use self::footprint::{InKernel, Resident};

/// The folder of bpftrace in the guests of `bench agent` and `bench guard`, with all its libraries: they come from
/// another Debian.
pub const TRACER: &str = "/tracer";
pub const TRACER_LOADER: &str = "ld-linux-x86-64.so.2";
pub const ATTEMPTS: &str = include_str!("bench/attempts.bt");
pub const JUDGEMENT: &str = include_str!("bench/judgement.bt");

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    None,
    Empty,
    /// bpftrace with the guard's first two tests, on the function around the hook.
    Bpftrace,
    /// bpftrace with the guard's judgement, where the memmap is reserved: nothing is oversize.
    BpftraceJudges,
    /// The same with half the kernel's struct page size as the reference: map=dev is oversize.
    BpftraceJudgesOversize,
    /// The guard in audit mode, by its defaults: nothing that this kernel reserves is oversize.
    Audit,
    /// The guard in audit mode, with half the kernel's struct page size as the reference: map=dev is oversize.
    AuditOversize,
    EnforceOversize,
}

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

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Measurement {
    pub setting: Setting,
    pub work: Work,
    pub times: u16,
    pub rounds: Vec<Round>,
}

/// One round, done twice: once as it is, and once with the kernel counting the runs of programs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Round {
    /// The whole work as it is, in instructions of the thread that did it, the kernel's part included.
    pub work_instructions: u64,
    pub runs: u64,
    /// Instructions of these runs, those of the counting itself included.
    pub run_instructions: u64,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Started {
    Pfnwatch,
    /// bpftrace with one probe that prints a pointer: the minimum.
    OneProbe,
    SameFields,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figures {
    pub namespaces: u64,
    /// From the start of the process until it is attached.
    pub starts: Vec<(Started, Duration)>,
    pub idle: Duration,
    pub wake_ups: u64,
    pub ours: Side,
    pub peers: Side,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Side {
    pub resident: Resident,
    pub in_kernel: InKernel,
    /// How often it holds libnvdimm, which then cannot be unloaded.
    pub held: u64,
    /// From the kernel's time of an event to the line that reports it, one event after the other.
    pub lines: Vec<Duration>,
    pub burst: Burst,
}

/// Namespaces that are enabled as fast as the kernel does it, again and again.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Burst {
    pub enabled: u64,
    pub told: u64,
    pub processor_time: Duration,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scanner {
    /// `pfnwatch scan`, which has the kernel show the info block of each enabled namespace.
    Scan,
    /// `pfnwatch scan` while an agent runs, which has seen the info blocks.
    BesideAgent,
    /// `pfnwatch scan --without-ebpf`.
    WithoutEbpf,
    /// `ndctl list -NuX`, which reads sysfs alone.
    Ndctl,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct ScanRun {
    pub looker: Scanner,
    pub namespaces: u64,
    pub cost: Cost,
}
