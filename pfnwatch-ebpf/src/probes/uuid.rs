//! User space writes the uuid of a pfn or dax device: with it, a bind that follows may be a creation. It writes the uuid of a
//! namespace that has no size: with it, the label that follows makes the namespace.

use aya_ebpf::macros::{kprobe, kretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use pfnwatch_common::counter::Counter;
use pfnwatch_common::guard::UuidStore;
use pfnwatch_common::record::Personality;

use crate::counters::count;
use crate::kernel::{Device, Namespace, Read, uuid_behind};
use crate::maps::UUID_STORES;
use crate::{emit, ownership, task, written_uuids};

/// `int nd_uuid_store(struct device *dev, uuid_t **uuid_out, const char *buf, size_t len)` (drivers/nvdimm/core.c).
#[kprobe]
fn uuid_store_enter(ctx: ProbeContext) -> u32 {
    let (Some(device), Some(out)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1)) else { return 0 };
    if !ownership::is_active() || !is_evidence(Device::at(device)).unwrap_or(false) {
        return 0;
    }
    let thread = task::thread_id();
    if UUID_STORES.get_ptr(thread).is_some() {
        count(Counter::ReturnMissed);
    }
    // Full, or a fault: what is not seen here is a creation that passes.
    let _ = UUID_STORES.insert(thread, UuidStore { began_ns: emit::now(), device, out }, 0);
    0
}

#[inline(always)]
fn is_evidence(device: Device) -> Read<bool> {
    match device.personality()? {
        Personality::Pfn | Personality::Dax => Ok(true),
        Personality::NamespacePmem => Namespace::of(device)?.is_empty(),
        _ => Ok(false),
    }
}

/// It returns 0 if the uuid was accepted.
#[kretprobe]
fn uuid_store_return(ctx: RetProbeContext) -> u32 {
    if !ownership::is_active() {
        return 0;
    }
    let thread = task::thread_id();
    let Some(store) = UUID_STORES.get_ptr(thread) else { return 0 };
    // SAFETY: the entry is this thread's own, and memory of a removed entry outlives the program (RCU).
    let UuidStore { device, out, .. } = unsafe { *store };
    let _ = UUID_STORES.remove(thread);
    if ctx.ret::<i32>() == 0 {
        // A fault has been counted.
        let _ = written(device, out);
    }
    0
}

#[inline(always)]
fn written(device: u64, out: u64) -> Read<()> {
    if let Some(uuid) = uuid_behind(out)? {
        written_uuids::note(device, &uuid);
    }
    Ok(())
}
