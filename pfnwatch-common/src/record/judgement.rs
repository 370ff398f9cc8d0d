//! What the guard made of a creation with map=dev.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, TryFromBytes};

use super::{CaptureFlags, RecordKind, TaskInfo, Text};

/// What it decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes)]
#[repr(u32)]
pub enum Decision {
    /// Refused: nothing was written.
    Denied = 1,
    /// Let pass, and refused under enforce.
    WouldDeny = 2,
    /// Oversize, and let pass by an exemption.
    Exempt = 3,
    /// Let pass without a judgement: see [`Unjudged`].
    Unjudged = 4,
}

/// Why a creation could not be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TryFromBytes)]
#[repr(u32)]
pub enum Unjudged {
    /// It could.
    None = 0,
    /// The agent has not finished: what blocks there are, or the policy, is not known yet.
    NotArmed = 1,
    /// libnvdimm was loaded anew since the agent looked.
    ModuleChanged = 2,
    /// MAX_STRUCT_PAGE_SIZE of the running kernel is not known.
    NoMaxStructPage = 3,
    /// The policy was replaced again and again meanwhile.
    PolicyChanged = 4,
    /// There may be a valid block: nobody has looked at the namespace since the agent is there, or one was met for which the
    /// table of known blocks had no room.
    BlockMissed = 5,
}

/// A creation with map=dev, as the guard saw it before anything was written. One that is not oversize is not sent: the
/// set-up that follows says all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Judgement {
    /// [`Kind::Judgement`].
    pub kind: u32,
    /// [`Seen`]: NAMESPACE, NAMESPACE_UUID, DEVICE_UUID, FAULT.
    pub seen: CaptureFlags,
    /// When, in nanoseconds since boot, suspend included.
    pub at_ns: u64,
    /// In whose context.
    pub task: TaskInfo,
    /// The pfn or dax device's name.
    pub device: Text<32>,
    /// The name of its region.
    pub region: Text<32>,
    /// The namespace's name.
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
    /// What would be reserved, in bytes: dataoff and end_trunc, as the formula gives it; 0 where it was not computed.
    pub dataoff: u64,
    /// What is cut off at the end, in bytes.
    pub end_trunc: u64,
    /// The ideal's dataoff in bytes.
    pub ideal_dataoff: u64,
    /// The MAX_STRUCT_PAGE_SIZE that it was computed with.
    pub max_struct_page: u64,
    /// The index of the snapshot that it was judged by: grows with each change of the policy.
    pub policy: u64,
    /// The [`crate::policy::Exemption::id`] that let it pass; 0 where none did.
    pub exemption: u64,
    /// The namespace uuid, in the order in which it is printed.
    pub namespace_uuid: [u8; 16],
    /// The uuid of the pfn or dax device: the block's, had it been made.
    pub device_uuid: [u8; 16],
}

impl Judgement {
    /// Nothing known yet.
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
