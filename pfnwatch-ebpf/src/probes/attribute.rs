//! The info block of a device that is bound: handed over while the agent itself reads the device's attribute.

use aya_ebpf::macros::kprobe;
use aya_ebpf::programs::ProbeContext;
use pfnwatch_common::record::Personality;

use crate::kernel::{Device, NdPfn, Read};
use crate::{emit, globals, task};

/// `static ssize_t dev_attr_show(struct kobject *kobj, struct attribute *attr, char *buf)` (drivers/base/core.c).
/// Attached only while an inventory is read; other processes' reads are ignored.
#[kprobe]
fn attribute_show(ctx: ProbeContext) -> u32 {
    if task::process_id() == globals::reader()
        && let Some(kobject) = ctx.arg::<u64>(0)
    {
        // A fault has been counted, and the reader finds no block.
        let _ = show(kobject);
    }
    0
}

#[inline(always)]
fn show(kobject: u64) -> Read<()> {
    let device = Device::of_kobject(kobject)?;
    // Unbound, `pfn_sb` is null or dangles.
    if !matches!(device.personality()?, Personality::Pfn | Personality::Dax) || !device.has_driver()? {
        return Ok(());
    }
    emit::block(|head| device.name(&mut head.device), |block| NdPfn::of(device)?.block(block))
}
