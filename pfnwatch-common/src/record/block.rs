//! The whole info block of a device that is bound, for an inventory that disables nothing.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{RecordKind, Text};
use crate::superblock;

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct BlockHead {
    /// [`crate::record::RecordKind::Block`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// The pfn or dax device.
    pub device: Text<32>,
}

impl BlockHead {
    pub const EMPTY: Self = Self { kind: RecordKind::Block as u32, reserved: 0, device: Text::EMPTY };
}

/// An info block out of the kernel's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Block {
    pub head: BlockHead,
    /// As on the media. It is read without the device's lock: signature and checksum must be verified.
    pub block: [u8; superblock::SIZE],
}
