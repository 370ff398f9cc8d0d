//! Uuids that user space was seen writing: the evidence that it configures a device, or makes a namespace.

use crate::kernel::Device;
use crate::maps::WRITTEN_UUIDS;
use crate::uuid::Uuid;

#[inline(always)]
pub(crate) fn note(device: u64, uuid: &Uuid) {
    let _ = WRITTEN_UUIDS.insert(device, uuid, 0);
}

/// Whether user space wrote this uuid to this device.
#[inline(always)]
pub(crate) fn has(device: Device, uuid: &Uuid) -> bool {
    // SAFETY: memory of a replaced entry outlives the program (RCU).
    WRITTEN_UUIDS.get_ptr(device.address()).is_some_and(|written| uuid.is(unsafe { &*written }))
}

/// The block or the namespace was made: what is done with this device from now on makes none.
#[inline(always)]
pub(crate) fn consume(device: Device) {
    let _ = WRITTEN_UUIDS.remove(device.address());
}
