//! The whole info block of a device that is bound, for an inventory that disables nothing.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{RecordKind, Text};
use crate::superblock;

/// Whose block it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct BlockHead {
    /// [`Kind::Block`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// The pfn or dax device.
    pub device: Text<32>,
}

impl BlockHead {
    /// Nobody's yet.
    pub const EMPTY: Self = Self { kind: RecordKind::Block as u32, reserved: 0, device: Text::EMPTY };
}

/// An info block out of the kernel's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Block {
    /// Whose it is.
    pub head: BlockHead,
    /// As on the media. It was read beside the device's lock: only signature and checksum say that it is one.
    pub block: [u8; superblock::SIZE],
}
