//! What libnvdimm, its drivers and the driver core log when they refuse or give up: message texts as types.
//!
//! The texts are the format strings of Linux 5.10, 6.1, 6.12, 6.18 and 7.3; those of 4.x are named where they differ.

mod answer;
#[cfg(test)]
mod tests;

use super::device_name::DeviceName;
use super::pattern::{fields, hex};
use crate::model::units::parse_number;

/// A message with its numbers: sizes and addresses in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelMessage {
    /// Memory errors in the reservation: how many sectors, from which on.
    ErrorsNotCleared {
        sectors: u64,
        first: u64,
    },
    PageSize {
        block: u64,
    },
    StructPageSize {
        block: u64,
    },
    AlignNotOffered {
        device: u64,
        block: u64,
    },
    Settings,
    AlignExceedsCapacity {
        align: u64,
        capacity: u64,
    },
    MemmapExceedsCapacity,
    BadOffset {
        offset: u64,
        align: Option<u64>,
    },
    StartMisaligned,
    EndMisaligned,
    NothingUsable,
    PagesTruncated {
        block: u64,
        namespace: u64,
    },
    SectionCollision {
        bytes: u64,
    },
    ReadOnly,
    RegionMisaligned {
        start: u64,
        unit: u64,
    },
    MemoryDebugging,
    AlignTooLarge,
    /// The range, if the message has it.
    AddressRangeBusy {
        range: Option<String>,
    },
    NamespaceMisaligned {
        range: String,
    },
    NoFlush,
    ErrorsUnreported,
    /// By which device; `None` if the message does not have it.
    Claimed {
        by: Option<DeviceName>,
    },
    InUse,
    TooSmall,
    NoUuid,
    DimmLocked {
        dimm: DeviceName,
    },
    DimmDisabled {
        dimm: DeviceName,
    },
    LabelsMismatch,
    LabelsFull,
    SizeMisaligned {
        size: u64,
        unit: u64,
    },
    NotRegistered,
    /// kmem: what it gave up.
    SystemRam {
        text: String,
    },
    /// A warning about the kernel's own bookkeeping.
    Defect {
        text: String,
    },
    /// The driver core could not link the driver in sysfs: a security module refused it.
    BindRefused,
    /// What the driver's probe returned: a positive error number.
    ProbeFailed {
        errno: i32,
    },
}

/// A message and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedMessage {
    /// Whose message it is.
    pub device: DeviceName,
    /// The namespace, if the message or the device's name has it.
    pub namespace: Option<DeviceName>,
    pub message: KernelMessage,
}

type Make = fn(&[&str]) -> Option<KernelMessage>;

/// Format strings, with `*` for what is filled in, by the file they are in. The first that matches counts.
const KNOWN: [(&str, Make); 60] = {
    use KernelMessage as M;
    [
        // drivers/nvdimm/pfn_devs.c
        ("error clearing * badblocks at *", |at| {
            Some(M::ErrorsNotCleared { sectors: hex(at.first()?)?, first: hex(at.get(1)?)? })
        }),
        ("init failed, page size mismatch *", |at| Some(M::PageSize { block: number(at, 0)? })),
        ("init failed, struct page size mismatch *", |at| Some(M::StructPageSize { block: number(at, 0)? })),
        ("init failed, alignment mismatch: *:*", |at| {
            Some(M::AlignNotOffered { device: number(at, 0)?, block: number(at, 1)? })
        }),
        ("init failed, settings mismatch", |_| Some(M::Settings)),
        ("alignment: * exceeds capacity *", |at| {
            Some(M::AlignExceedsCapacity { align: hex(at.first()?)?, capacity: hex(at.get(1)?)? })
        }),
        ("pfn array size exceeds capacity of *", |_| Some(M::MemmapExceedsCapacity)),
        ("bad offset: * dax disabled align: *", |at| {
            Some(M::BadOffset { offset: hex(at.first()?)?, align: Some(hex(at.get(1)?)?) })
        }),
        // Up to 4.20, but not in 4.19.37.
        ("bad offset: * dax disabled", |at| Some(M::BadOffset { offset: hex(at.first()?)?, align: None })),
        ("resource start misaligned", |_| Some(M::StartMisaligned)),
        ("resource end misaligned", |_| Some(M::EndMisaligned)),
        // Since 6.2 or later: not in 6.1, in 6.12.
        ("bad offset with small namespace", |_| Some(M::NothingUsable)),
        ("number of pfns truncated from * to *", |at| {
            Some(M::PagesTruncated { block: number(at, 0)?, namespace: number(at, 1)? })
        }),
        ("* is read-only, unable to init metadata", |_| Some(M::ReadOnly)),
        ("*: start * misaligned to *", |at| {
            Some(M::RegionMisaligned { start: hex(at.get(1)?)?, unit: hex(at.get(2)?)? })
        }),
        ("Memory debug options prevent using pmem for the page map", |_| Some(M::MemoryDebugging)),
        ("* unable to satisfy requested alignment", |_| Some(M::AlignTooLarge)),
        // Up to 5.2; since 4.19 and in stable kernels before it by its second name.
        ("* section collision, truncate * bytes", |at| Some(M::SectionCollision { bytes: number(at, 1)? })),
        ("* alignment collision, truncate * bytes", |at| Some(M::SectionCollision { bytes: number(at, 1)? })),
        // Debug messages, which are logged only with dynamic debugging.
        ("failed, already claimed by *", |at| Some(M::Claimed { by: DeviceName::parse(at.first()?) })),
        // drivers/nvdimm/pmem.c and claim.c
        ("could not reserve region *", |at| Some(M::AddressRangeBusy { range: range(at.first()?) })),
        ("unable to guarantee persistence of writes", |_| Some(M::NoFlush)),
        ("'badblocks' notification disabled", |_| Some(M::ErrorsUnreported)),
        ("request out of range", |_| defect("request out of range")),
        ("namespace already active", |_| Some(M::InUse)),
        ("namespace already set to: *", |at| Some(M::Claimed { by: DeviceName::parse(at.first()?) })),
        ("* too small to host", |_| Some(M::TooSmall)),
        // drivers/dax/pmem.c
        ("could not reserve metadata", |_| Some(M::AddressRangeBusy { range: None })),
        // drivers/dax/device.c
        ("mapping*: * could not reserve range", |at| Some(M::AddressRangeBusy { range: range(at.get(1)?) })),
        ("static pgmap / multi-range device conflict", |_| defect("static pgmap / multi-range device conflict")),
        ("dynamic-dax with pre-populated page map", |_| defect("dynamic-dax with pre-populated page map")),
        // drivers/dax/kmem.c
        ("mapping*: * could not reserve region", |at| Some(M::AddressRangeBusy { range: range(at.get(1)?) })),
        ("mapping*: * memory add failed", |_| system_ram("its memory could not be added")),
        ("mapping*: * too small after alignment", |_| system_ram("a range is smaller than a memory block")),
        ("mapping*: * cannot be hotremoved until the next reboot", |_| {
            system_ram("its memory cannot be removed until the next boot")
        }),
        ("rejecting DAX region without any memory after alignment", |_| system_ram("it has no whole memory block")),
        ("rejecting DAX region with invalid node: *", |_| system_ram("its NUMA node is unknown")),
        // drivers/nvdimm/namespace_devs.c
        ("* misaligned, unable to map", |at| Some(M::NamespaceMisaligned { range: range(at.first()?)? })),
        ("* missing label for *", |_| Some(M::LabelsMismatch)),
        ("* invalid label for *", |_| Some(M::LabelsMismatch)),
        ("invalid interleave-set-cookie", |_| Some(M::LabelsMismatch)),
        ("invalid cookie in label: *", |_| Some(M::LabelsMismatch)),
        ("error: conflicting extents for uuid: *", |_| Some(M::LabelsMismatch)),
        ("*: is *, failing probe", |at| dimm(at.first()?, at.get(1)?)),
        ("* locked", |at| dimm(at.first()?, "locked")),
        ("failed to create namespace", |_| Some(M::NotRegistered)),
        ("failed to create * namespace", |_| Some(M::NotRegistered)),
        ("namespace must be idle during label update", |_| Some(M::InUse)),
        ("is active, can't bind *", |_| Some(M::InUse)),
        ("claimed by *, failing probe", |at| Some(M::Claimed { by: DeviceName::parse(at.first()?) })),
        ("*, too small must be at least *", |_| Some(M::TooSmall)),
        ("*: uuid not set", |_| Some(M::NoUuid)),
        ("* is not *K aligned", |at| {
            Some(M::SizeMisaligned { size: number(at, 0)?, unit: number(at, 1)?.checked_mul(1024)? })
        }),
        ("pmem reserve underrun: *", |_| defect("pmem reserve underrun")),
        ("allocation underrun: *", |_| defect("allocation underrun")),
        ("host (*) vs claim (*) mismatch", |_| defect("host vs claim mismatch")),
        // drivers/nvdimm/region.c and label.c
        ("failed to register * namespace*, continuing...", |_| Some(M::NotRegistered)),
        ("label area (*) too small to host (* byte) labels", |_| Some(M::LabelsFull)),
        // claim.c again: general, and so the last.
        ("namespace * already claimed", |_| Some(M::Claimed { by: None })),
        ("* already claimed", |_| Some(M::Claimed { by: None })),
    ]
};

/// drivers/base/dd.c: since 6.12 or earlier `DRIVER DEVICE: probe with driver …`; in 6.1 the device is in the text.
const DRIVER_CORE: [(&str, Make); 3] = [
    ("really_probe: driver_sysfs_add failed", |_| Some(KernelMessage::BindRefused)),
    ("probe with driver * failed with error -*", |at| errno(at.get(1)?)),
    // A debug message: ENXIO and ENODEV are no errors to the driver core.
    ("probe with driver * rejects match -*", |at| errno(at.get(1)?)),
];

/// Those of 6.1: the device is the first field.
const OLD_DRIVER_CORE: [(&str, Make); 3] = [
    ("driver_sysfs_add(*) failed", |_| Some(KernelMessage::BindRefused)),
    ("probe of * failed with error -*", |at| errno(at.get(1)?)),
    ("probe of * rejects match -*", |at| errno(at.get(1)?)),
];

impl LoggedMessage {
    /// A line of the kernel's log, without its time: `DRIVER DEVICE: MESSAGE`. `None` if it is no failure of libnvdimm,
    /// its drivers or the dax drivers.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.trim_end().split_once(": ")?;
        let device = head.rsplit(' ').next().and_then(DeviceName::parse);
        let Some(device) = device else {
            let (device, message) = OLD_DRIVER_CORE.iter().find_map(|(pattern, make)| {
                let found = fields(body, pattern)?;
                Some((DeviceName::parse(found.first()?)?, make(&found)?))
            })?;
            return Some(Self { namespace: Some(device.clone()).filter(DeviceName::is_namespace), device, message });
        };
        let mut known = KNOWN.iter().chain(&DRIVER_CORE);
        let message = known.find_map(|(pattern, make)| make(&fields(body, pattern)?))?;
        let mut words = body.split(|c: char| c.is_whitespace() || matches!(c, ':' | ','));
        let named = words.find_map(|word| DeviceName::parse(word).filter(DeviceName::is_namespace));
        let namespace = named.or_else(|| Some(device.clone()).filter(DeviceName::is_namespace));
        Some(Self { device, namespace, message })
    }
}

impl KernelMessage {
    /// A message alone, as people quote it, without driver and device.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let known = KNOWN.iter().chain(&DRIVER_CORE).chain(&OLD_DRIVER_CORE);
        known.into_iter().find_map(|(pattern, make)| make(&fields(text, pattern)?))
    }
}

fn number(at: &[&str], index: usize) -> Option<u64> {
    parse_number(at.get(index)?)
}

/// `[mem 0x140000000-0x17fffffff flags 0x200]` without what only the kernel needs; `0x1-0x2` as it is.
fn range(text: &str) -> Option<String> {
    let inner = text.strip_prefix("[mem ").and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let range = inner.split(' ').next()?;
    let (from, to) = range.split_once('-')?;
    (hex(from).is_some() && hex(to).is_some()).then(|| range.to_owned())
}

fn dimm(name: &str, state: &str) -> Option<KernelMessage> {
    let dimm = DeviceName::parse(name)?;
    match state {
        "locked" => Some(KernelMessage::DimmLocked { dimm }),
        "disabled" => Some(KernelMessage::DimmDisabled { dimm }),
        _ => None,
    }
}

fn errno(text: &str) -> Option<KernelMessage> {
    text.parse().ok().filter(|errno| *errno > 0).map(|errno| KernelMessage::ProbeFailed { errno })
}

#[expect(clippy::unnecessary_wraps, reason = "an entry of the table")]
fn system_ram(text: &str) -> Option<KernelMessage> {
    Some(KernelMessage::SystemRam { text: text.to_owned() })
}

#[expect(clippy::unnecessary_wraps, reason = "an entry of the table")]
fn defect(text: &str) -> Option<KernelMessage> {
    Some(KernelMessage::Defect { text: text.to_owned() })
}
