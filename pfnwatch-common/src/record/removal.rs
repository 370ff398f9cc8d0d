//! A range of memory whose memmap the kernel removes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{CaptureFlags, RecordKind, TaskInfo};

/// One range of a `struct dev_pagemap` whose memmap is in DRAM, as `memunmap_pages` is called with it (mm/memremap.c), or of memory
/// blocks, as `remove_memory_block_devices` is (drivers/base/memory.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct MemmapRemoval {
    /// [`crate::record::RecordKind::MemmapRemoval`].
    pub kind: u32,
    /// FAULT.
    pub seen: CaptureFlags,
    /// In nanoseconds since boot, suspend included.
    pub at_ns: u64,
    pub task: TaskInfo,
    /// Physical address of the range's first byte.
    pub start: u64,
    /// Physical address of its last byte.
    pub end: u64,
    /// The order of the compound pages, in pages.
    pub vmemmap_shift: u64,
    /// Not 0: the range was system RAM, in memory blocks. Where their memmap is does not show here.
    pub memory_blocks: u64,
}

impl MemmapRemoval {
    pub const EMPTY: Self = Self {
        kind: RecordKind::MemmapRemoval as u32,
        seen: CaptureFlags::NONE,
        at_ns: 0,
        task: TaskInfo::EMPTY,
        start: 0,
        end: 0,
        vmemmap_shift: 0,
        memory_blocks: 0,
    };
}
