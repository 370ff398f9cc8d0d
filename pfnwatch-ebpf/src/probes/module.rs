//! libnvdimm comes and goes: what the agent knows of one is not good for the next.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;

use crate::kernel::Module;
use crate::maps::MODULE_EPOCH;

/// `trace_module_load(struct module *mod)` (kernel/module/main.c): before its code runs.
#[raw_tracepoint(tracepoint = "module_load")]
fn module_load(ctx: RawTracePointContext) -> i32 {
    turn(&ctx)
}

/// `trace_module_free(struct module *mod)`.
#[raw_tracepoint(tracepoint = "module_free")]
fn module_free(ctx: RawTracePointContext) -> i32 {
    turn(&ctx)
}

/// A module whose name cannot be read may be libnvdimm.
#[inline(always)]
fn turn(ctx: &RawTracePointContext) -> i32 {
    if Module::at(ctx.arg(0)).is_libnvdimm().unwrap_or(true)
        && let Some(epoch) = MODULE_EPOCH.get_ptr_mut(0)
    {
        // SAFETY: the pointer is to the map's value. The kernel loads and frees one libnvdimm at a time.
        unsafe { *epoch += 1 };
    }
    0
}
