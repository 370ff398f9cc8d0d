//! What happens to a device or a namespace outside a bind: claim, unbind, label written, destroyed.

use aya_ebpf::macros::kprobe;
use aya_ebpf::programs::ProbeContext;
use pfnwatch_common::record::{CaptureFlags, Notice, NoticeKind, Personality};

use crate::kernel::{self, Device, Namespace, Read, Region, claimed_by};
use crate::{emit, known_blocks, ownership, written_uuids};

/// `static void nvdimm_bus_remove(struct device *dev)` (drivers/nvdimm/bus.c): a driver is unbound.
#[kprobe]
fn bus_remove(ctx: ProbeContext) -> u32 {
    let Some(device) = ctx.arg::<u64>(0).map(Device::at) else { return 0 };
    match device.personality() {
        Ok(Personality::Other) | Err(_) => {}
        Ok(personality) => send(NoticeKind::Unbind, |notice| {
            notice.personality = personality as u32;
            unbound(notice, device, personality)
        }),
    }
    0
}

#[inline(always)]
fn unbound(notice: &mut Notice, device: Device, personality: Personality) -> Read<()> {
    around(notice, device)?;
    match personality {
        Personality::NamespacePmem | Personality::NamespaceIo => about(notice, Namespace::of(device)?),
        claimer => match claimed_by(device, claimer)? {
            Some(namespace) => about(notice, namespace),
            None => Ok(()),
        },
    }
}

/// `ssize_t nd_namespace_store(struct device *dev, struct nd_namespace_common **_ndns, const char *buf, size_t len)`
/// (drivers/nvdimm/claim.c): user space wrote a namespace's name, or nothing to let go of it.
#[kprobe]
fn namespace_store(ctx: ProbeContext) -> u32 {
    let (Some(device), Some(name)) = (ctx.arg::<u64>(0).map(Device::at), ctx.arg::<u64>(2)) else { return 0 };
    let personality = device.personality().unwrap_or(Personality::Other);
    send(NoticeKind::Claim, |notice| {
        notice.personality = personality as u32;
        kernel::text(name, &mut notice.namespace)?;
        around(notice, device)
    });
    0
}

/// `int nd_pmem_namespace_label_update(struct nd_region *nd_region, struct nd_namespace_pmem *nspm, resource_size_t
/// size)` (drivers/nvdimm/label.c): a label is written, or with size 0 deleted.
#[kprobe]
fn label_update(ctx: ProbeContext) -> u32 {
    let (Some(region), Some(pmem), Some(size)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1), ctx.arg::<u64>(2)) else {
        return 0;
    };
    if ownership::is_active() && size != 0 {
        // A fault has been counted.
        let _ = made(pmem);
    }
    send(NoticeKind::Label, |notice| {
        notice.personality = Personality::NamespacePmem as u32;
        notice.size = size;
        kernel::label_name(pmem, &mut notice.label_name)?;
        let namespace = Namespace::of_pmem(pmem)?;
        namespace.device()?.name(&mut notice.device)?;
        about(notice, namespace)?;
        Region::at(region).name(&mut notice.region)
    });
    0
}

/// A namespace gets its first label: user space has just made it, and what was at its place before is gone.
#[inline(always)]
fn made(pmem: u64) -> Read<()> {
    let namespace = Namespace::of_pmem(pmem)?;
    let device = namespace.device()?;
    if let Some(uuid) = namespace.uuid_value(Personality::NamespacePmem)?
        && written_uuids::has(device, &uuid)
    {
        known_blocks::forget(namespace)?;
        written_uuids::consume(device);
    }
    Ok(())
}

#[inline(always)]
fn send(what: NoticeKind, fill: impl FnOnce(&mut Notice) -> Read<()>) {
    if !ownership::is_active() {
        return;
    }
    emit::record(|notice: &mut Notice| {
        notice.what = what as u32;
        fill(notice)
    });
}

#[inline(always)]
fn around(notice: &mut Notice, device: Device) -> Read<()> {
    device.name(&mut notice.device)?;
    match device.parent()? {
        Some(region) => region.name(&mut notice.region),
        None => Ok(()),
    }
}

#[inline(always)]
fn about(notice: &mut Notice, namespace: Namespace) -> Read<()> {
    let device = namespace.device()?;
    device.name(&mut notice.namespace)?;
    let personality = device.personality()?;
    if namespace.uuid(personality, &mut notice.namespace_uuid)? {
        notice.seen = notice.seen.with(CaptureFlags::NAMESPACE_UUID);
    }
    Ok(())
}
