//! What is good to know and stops nothing.

use super::Availability::{No, Yes};
use super::NeededFor::Information;
use super::Prerequisite;
use crate::kernel::features::{Features, PersistentMemory};

pub(super) fn judge(host: &Features) -> Vec<Prerequisite> {
    vec![
        drivers(host),
        persistent_memory(host.persistent_memory),
        other_memory(host.dax_devices),
        bpf_file_system(host.bpf_file_system),
    ]
}

fn drivers(host: &Features) -> Prerequisite {
    let (nd_pmem, dax_pmem) = (&host.modules.nd_pmem, &host.modules.dax_pmem);
    let answer = if nd_pmem.is_there() && dax_pmem.is_there() { Yes } else { No };
    let row = |seen| Prerequisite::new("drivers for namespaces", Information, answer, seen);
    let row = row(format!("nd_pmem {nd_pmem}, dax_pmem {dax_pmem}"));
    if answer == Yes { row } else { row.remedy("none needed: the kernel loads them with the first namespace") }
}

fn persistent_memory(found: Option<PersistentMemory>) -> Prerequisite {
    let row = |answer, seen: String| Prerequisite::new("persistent memory", Information, answer, seen);
    match found {
        Some(PersistentMemory { regions, namespaces }) if regions > 0 => {
            row(Yes, format!("regions: {regions}; namespaces with a size: {namespaces}"))
        }
        _ => row(No, "none: no namespace has a memmap yet, and pfnwatch waits".to_owned()),
    }
}

fn other_memory(devices: usize) -> Prerequisite {
    let row = |answer, seen| Prerequisite::new("other memory devices", Information, answer, seen);
    match devices {
        0 => row(No, "none on the dax bus with a memmap (CXL memory, …)".to_owned()),
        devices => row(Yes, format!("on the dax bus: {devices}; `pfnwatch scan` lists them with their memmaps")),
    }
}

fn bpf_file_system(mounted: bool) -> Prerequisite {
    let row = |answer, seen: &str| Prerequisite::new("BPF file system", Information, answer, seen.to_owned());
    if mounted {
        row(Yes, "mounted at /sys/fs/bpf")
    } else {
        row(No, "not mounted: a guard cannot stay without the agent (on_agent_exit = \"hold\")")
            .remedy("mount -t bpf none /sys/fs/bpf")
    }
}
