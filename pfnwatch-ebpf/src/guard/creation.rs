//! Whether a bind is a creation: on positive evidence alone.

use pfnwatch_common::Map;
use pfnwatch_common::guard::NamespacePlace;
use pfnwatch_common::record::{CaptureFlags, Judgement, Personality};

use crate::kernel::{Device, Namespace, NdPfn, Read, Region};
use crate::uuid::Uuid;
use crate::written_uuids;

pub(super) struct Creation {
    device: Device,
    personality: Personality,
    namespace: Namespace,
    /// `nd_pfn.align` in bytes.
    pub(super) align: u64,
    pub(super) place: NamespacePlace,
    /// Physical address of its last byte.
    pub(super) end: u64,
    /// The device's uuid: the block's, if it is made.
    pub(super) uuid: Uuid,
    pub(super) namespace_uuid: Option<Uuid>,
}

impl Creation {
    /// The creation that the bind of this device would be; `None` if it is none, or if nothing proves that it is one.
    #[inline(always)]
    pub(super) fn of(device: Device, personality: Personality) -> Read<Option<Self>> {
        let nd_pfn = NdPfn::of(device)?;
        // A seed is probed as soon as it is there, and has nothing yet.
        let Some(namespace) = nd_pfn.namespace()? else { return Ok(None) };
        if nd_pfn.mode()? != Map::Dev as u32 {
            return Ok(None);
        }
        let Some(uuid) = nd_pfn.uuid_value()? else { return Ok(None) };
        if !is_configured_by_user_space(device, &uuid)? {
            return Ok(None);
        }
        let place = namespace.place()?;
        let (_, end) = namespace.range()?;
        let namespace_uuid = namespace.uuid_value(namespace.device()?.personality()?)?;
        let align = nd_pfn.align()?;
        Ok(Some(Self { device, personality, namespace, align, place, end, uuid, namespace_uuid }))
    }

    /// In bytes; 0 if the range is empty.
    #[inline(always)]
    pub(super) fn size(&self) -> u64 {
        let start = self.place.start;
        if self.end > start { self.end - start + 1 } else { 0 }
    }

    #[inline(always)]
    pub(super) fn describe(&self, record: &mut Judgement) -> Read<()> {
        record.personality = self.personality as u32;
        record.align = self.align;
        record.namespace_start = self.place.start;
        record.namespace_end = self.end;
        record.device_uuid = *self.uuid.as_bytes();
        record.seen = CaptureFlags::NAMESPACE.with(CaptureFlags::DEVICE_UUID);
        self.device.name(&mut record.device)?;
        if let Some(region) = self.device.parent()? {
            region.name(&mut record.region)?;
        }
        if let Some(uuid) = &self.namespace_uuid {
            record.namespace_uuid = *uuid.as_bytes();
            record.seen = record.seen.with(CaptureFlags::NAMESPACE_UUID);
        }
        self.namespace.device()?.name(&mut record.namespace)
    }
}

/// All that a seed has is from user space. Of another device this is so where user space was seen to write the uuid that
/// it still has: the kernel gives an existing namespace's device the uuid of its block.
#[inline(always)]
fn is_configured_by_user_space(device: Device, uuid: &Uuid) -> Read<bool> {
    if written_uuids::has(device, uuid) {
        return Ok(true);
    }
    match device.parent()? {
        Some(region) => Region::of(region)?.has_seed(device),
        None => Ok(false),
    }
}
