//! Something short that happens to a device or a namespace outside a bind.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

use super::{CaptureFlags, RecordKind, TaskInfo, Text};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes)]
#[repr(u32)]
pub enum NoticeKind {
    /// A driver lets go of a device (`nvdimm_bus_remove`): a namespace or what claims it is disabled.
    Unbind = 1,
    /// User space wrote a namespace's name to a pfn, dax or btt device (`nd_namespace_store`): it claims it.
    Claim = 2,
    /// The label of a namespace is written with a size, or deleted with size 0 (`nd_pmem_namespace_label_update`).
    Label = 3,
}

/// Something short that happens to a device or a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Notice {
    /// [`Kind::Notice`].
    pub kind: u32,
    /// [`NoticeKind`].
    pub what: u32,
    /// When, in nanoseconds since boot, suspend included.
    pub at_ns: u64,
    /// In whose context.
    pub task: TaskInfo,
    /// The device it happened to.
    pub device: Text<32>,
    /// Its region.
    pub region: Text<32>,
    /// The namespace it is about: what user space wrote for [`NoticeKind::Claim`], the device itself where that is one.
    pub namespace: Text<32>,
    /// [`super::Personality`] of the device.
    pub personality: u32,
    /// [`Seen`]: the bits for the namespace's uuid and for faults.
    pub seen: CaptureFlags,
    /// The size that the label gets, in bytes, for [`NoticeKind::Label`].
    pub size: u64,
    /// The namespace uuid.
    pub namespace_uuid: [u8; 16],
}

impl Notice {
    /// Nothing known yet.
    pub const EMPTY: Self = Self {
        kind: RecordKind::Notice as u32,
        what: 0,
        at_ns: 0,
        task: TaskInfo::EMPTY,
        device: Text::EMPTY,
        region: Text::EMPTY,
        namespace: Text::EMPTY,
        personality: 0,
        seen: CaptureFlags::NONE,
        size: 0,
        namespace_uuid: [0; 16],
    };
}
