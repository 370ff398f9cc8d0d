//! What the guard made of a creation with map=dev.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

use super::{CaptureFlags, RecordKind, TaskInfo, Text};

#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes)]
#[repr(u32)]
pub enum Decision {
    Denied = 1,
    WouldDeny = 2,
    Exempt = 3,
    /// Allowed without a judgement: see [`Unjudged`].
    Unjudged = 4,
}

/// Why a creation could not be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes)]
#[repr(u32)]
pub enum Unjudged {
    None = 0,
    /// The agent has not yet written all known blocks or the policy.
    NotArmed = 1,
    /// libnvdimm was reloaded since the agent read the host.
    ModuleChanged = 2,
    /// MAX_STRUCT_PAGE_SIZE of the running kernel is unknown.
    NoMaxStructPage = 3,
    /// The policy was replaced several times during the judgement.
    PolicyChanged = 4,
    /// There may be a valid block: nobody has inspected the namespace, the outcome of a set-up on it is not known, or the
    /// table of known blocks had no room for it.
    BlockMissed = 5,
}

/// A creation with map=dev, as the guard saw it before anything was written. One that is not oversize is not sent: the
/// following set-up has all its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Judgement {
    /// [`crate::record::RecordKind::Judgement`].
    pub kind: u32,
    /// NAMESPACE, NAMESPACE_UUID, DEVICE_UUID, FAULT.
    pub seen: CaptureFlags,
    /// In nanoseconds since boot, suspend included.
    pub at_ns: u64,
    pub task: TaskInfo,
    /// The pfn or dax device's name.
    pub device: Text<32>,
    pub region: Text<32>,
    pub namespace: Text<32>,
    /// [`super::Personality`] of the device.
    pub personality: u32,
    /// [`Decision`].
    pub decision: u32,
    /// [`Unjudged`].
    pub unjudged: u32,
    /// Zero.
    pub reserved: u32,
    /// `nd_pfn.align` in bytes.
    pub align: u64,
    /// Physical address of the namespace's first byte.
    pub namespace_start: u64,
    /// Physical address of its last byte.
    pub namespace_end: u64,
    /// The reservation in bytes, as the formula gives it; 0 if it was not computed.
    pub dataoff: u64,
    /// Bytes that would be cut off at the end.
    pub end_trunc: u64,
    /// The ideal's dataoff in bytes.
    pub ideal_dataoff: u64,
    pub max_struct_page: u64,
    /// The number of the snapshot that was used; it grows with each change of the policy.
    pub policy: u64,
    /// The [`crate::policy::Exemption::id`] that allowed it; 0 for none.
    pub exemption: u64,
    /// The namespace uuid, in the order in which it is printed.
    pub namespace_uuid: [u8; 16],
    /// The uuid of the pfn or dax device, which the block would get.
    pub device_uuid: [u8; 16],
}

impl Judgement {
    pub const EMPTY: Self = Self {
        kind: RecordKind::Judgement as u32,
        seen: CaptureFlags::NONE,
        at_ns: 0,
        task: TaskInfo::EMPTY,
        device: Text::EMPTY,
        region: Text::EMPTY,
        namespace: Text::EMPTY,
        personality: 0,
        decision: 0,
        unjudged: 0,
        reserved: 0,
        align: 0,
        namespace_start: 0,
        namespace_end: 0,
        dataoff: 0,
        end_trunc: 0,
        ideal_dataoff: 0,
        max_struct_page: 0,
        policy: 0,
        exemption: 0,
        namespace_uuid: [0; 16],
        device_uuid: [0; 16],
    };
}
