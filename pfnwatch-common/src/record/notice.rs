//! Something short that happens to a device or a namespace outside a bind.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

use super::{CaptureFlags, RecordKind, TaskInfo, Text};

#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes)]
#[repr(u32)]
pub enum NoticeKind {
    /// `nvdimm_bus_remove`: a driver is unbound from a namespace or from its holder, which is then disabled.
    Unbind = 1,
    /// `nd_namespace_store`: user space wrote a namespace's name to a pfn, dax or btt device, which claims it.
    Claim = 2,
    /// `nd_pmem_namespace_label_update`: the label of a namespace is written with a size, or deleted with size 0.
    Label = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Notice {
    /// [`crate::record::RecordKind::Notice`].
    pub kind: u32,
    /// [`NoticeKind`].
    pub what: u32,
    /// In nanoseconds since boot, suspend included.
    pub at_ns: u64,
    pub task: TaskInfo,
    pub device: Text<32>,
    pub region: Text<32>,
    /// What user space wrote for [`NoticeKind::Claim`]; the device itself if that is a namespace.
    pub namespace: Text<32>,
    /// [`super::Personality`] of the device.
    pub personality: u32,
    /// NAMESPACE_UUID and FAULT.
    pub seen: CaptureFlags,
    /// The label's size in bytes, for [`NoticeKind::Label`].
    pub size: u64,
    pub namespace_uuid: [u8; 16],
    /// The label's name (NSLABEL_NAME_LEN), for [`NoticeKind::Label`].
    pub label_name: Text<64>,
}

impl Notice {
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
        label_name: Text::EMPTY,
    };
}
