//! What the kernel's error numbers mean in the places where pfnwatch sees them.

use crate::model::event::{BlockState, ProbeResult, SetUpOutcome};

pub(super) const ENXIO: i32 = -libc::ENXIO;
/// No such device: no uuid, no namespace, or (from `nd_pfn_validate`) no info block.
pub(super) const ENODEV: i32 = -libc::ENODEV;

pub(super) const EINVAL: i32 = -libc::EINVAL;

/// Probe again later (include/linux/errno.h): user space never sees it.
const EPROBE_DEFER: i32 = -517;

/// The one thing that -EINVAL means for map=dev on a start that is aligned, where no block was found (`nd_pfn_init`).
pub(super) const TOO_WIDE: &str = "no info block, and none was made: EINVAL: this kernel's struct page is larger than its \
                                   MAX_STRUCT_PAGE_SIZE (memory debug options), so that it refuses map=dev";

/// What `nvdimm_setup_pfn` means by its return code (drivers/nvdimm/pfn_devs.c, 6.1 to 7.3).
const SETUP: [(i32, &str); 9] = [
    (-libc::EIO, "EIO: the media could not be read or written"),
    (ENXIO, "ENXIO: nothing would be usable beside the memmap, or the region is read-only"),
    (-libc::ENOMEM, "ENOMEM: the kernel had no memory for it"),
    (-libc::EBUSY, "EBUSY: the memory range is in use"),
    (ENODEV, "ENODEV: the device has no uuid or no namespace"),
    (
        EINVAL,
        "EINVAL: mode, alignment or start do not fit, or this kernel's struct page is larger than its reservation allows",
    ),
    (
        -libc::EOPNOTSUPP,
        "EOPNOTSUPP: the block does not fit this kernel (alignment, page size, struct page size, or start)",
    ),
    (-libc::ENOSPC, "ENOSPC: the namespace is too small"),
    (EPROBE_DEFER, "EPROBE_DEFER: the driver requests a retry later"),
];

/// What the drivers mean that bind afterwards (drivers/nvdimm/pmem.c, drivers/dax/pmem.c, mm/memremap.c).
const BIND: [(i32, &str); 6] = [
    (-libc::ENOMEM, "ENOMEM: no memory for the mapping, or its creation was refused (see dmesg for driver_sysfs_add)"),
    (-libc::EBUSY, "EBUSY: the memory range is in use"),
    (ENXIO, "ENXIO: the driver found no device"),
    (EINVAL, "EINVAL: the range cannot be mapped"),
    (
        -libc::EOPNOTSUPP,
        "EOPNOTSUPP: the info block does not fit this kernel, or start or size are not aligned as it requires",
    ),
    (EPROBE_DEFER, "EPROBE_DEFER: the driver requests a retry later"),
];

pub(super) fn of_setup(block: BlockState, outcome: SetUpOutcome, setup: Option<i32>, bind: Option<i32>) -> String {
    let what = match (block, outcome) {
        (BlockState::Made, SetUpOutcome::Enabled) => "info block made, namespace enabled",
        (BlockState::Existing, SetUpOutcome::Enabled) => "existing info block accepted, namespace enabled",
        (BlockState::Made, SetUpOutcome::ReservedNotEnabled) => {
            "info block made and the memmap reserved, but the driver failed"
        }
        (BlockState::Existing, SetUpOutcome::Refused) => "existing info block accepted, but the driver failed",
        (BlockState::Rejected, _) => "the info block on the namespace is not accepted",
        (BlockState::None, _) => "no info block, and none was made",
        (_, SetUpOutcome::Enabled) => "namespace enabled",
        (_, SetUpOutcome::Refused) => "not enabled",
        (_, SetUpOutcome::ReservedNotEnabled) => "reserved, not enabled",
        (_, SetUpOutcome::Unknown) => "the end of the attempt was not seen",
    };
    match (setup, bind) {
        (Some(code), _) if code < 0 => format!("{what}: {}", name(&SETUP, code)),
        (_, Some(code)) if code < 0 => format!("{what}: {}", name(&BIND, code)),
        _ => what.to_owned(),
    }
}

pub(super) fn of_probe(result: ProbeResult, code: Option<i32>) -> String {
    match (result, code) {
        (ProbeResult::SetUpNotSeen, _) => "enabled, and the set-up of its memmap was not seen".to_owned(),
        (ProbeResult::Enabled, _) => "enabled without a memmap on the namespace".to_owned(),
        (ProbeResult::PassedOn, _) => "left to the pfn, dax or btt device that takes it".to_owned(),
        (ProbeResult::Refused, Some(code)) => name(&BIND, code),
        (ProbeResult::Refused | ProbeResult::Unknown, _) => "the end of the attempt was not seen".to_owned(),
    }
}

fn name(table: &[(i32, &str)], code: i32) -> String {
    table.iter().find(|(known, _)| *known == code).map_or_else(
        || format!("{}", std::io::Error::from_raw_os_error(code.saturating_abs())),
        |(_, meaning)| (*meaning).to_owned(),
    )
}
