//! User space writes the uuid of a pfn or dax device: with it, a bind that follows may be a creation.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use pfnwatch_common::record::Personality;

use crate::{
    kernel::{Device, Read, uuid_behind},
    maps::{UUID_STORES, UuidStore, WRITTEN_UUIDS},
    ownership, task,
};

/// `int nd_uuid_store(struct device *dev, uuid_t **uuid_out, const char *buf, size_t len)` (drivers/nvdimm/core.c).
#[kprobe]
fn uuid_store_enter(ctx: ProbeContext) -> u32 {
    let (Some(device), Some(out)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1)) else { return 0 };
    if ownership::is_active() && matches!(Device::at(device).personality(), Ok(Personality::Pfn | Personality::Dax)) {
        // Full, or a fault: what is not seen here is a creation that passes.
        let _ = UUID_STORES.insert(task::thread_id(), UuidStore { device, out }, 0);
    }
    0
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
    let UuidStore { device, out } = unsafe { *store };
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
        let _ = WRITTEN_UUIDS.insert(device, uuid, 0);
    }
    Ok(())
}
