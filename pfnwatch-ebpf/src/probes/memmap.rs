//! Memmaps of device memory and of hot-plugged system RAM that are removed.

use aya_ebpf::macros::kprobe;
use aya_ebpf::programs::ProbeContext;
use pfnwatch_common::record::MemmapRemoval;

use crate::kernel::Pagemap;
use crate::{emit, ownership};

/// So many ranges of one device are reported: one for a namespace, more for a dax device that was made of several gaps.
const MAX_RANGES: u64 = 8;

/// `void memunmap_pages(struct dev_pagemap *pgmap)` (mm/memremap.c): once for each device that is disabled, before its memmap is freed.
///
/// A memmap on the media (map=dev) is not reported. What parts of memory sections take from DRAM there is made of single pages
/// (`vmemmap_populate()` in arch/x86/mm/init_64.c), which each kernel returns: nothing of it can be lost.
#[kprobe]
fn memmap_removed(ctx: ProbeContext) -> u32 {
    let Some(pagemap) = ctx.arg::<u64>(0).map(Pagemap::at) else { return 0 };
    if !ownership::is_active() {
        return 0;
    }
    // A fault has been counted.
    let (Ok(false), Ok(ranges)) = (pagemap.has_altmap(), pagemap.ranges()) else { return 0 };
    for index in 0..MAX_RANGES {
        if index >= ranges {
            break;
        }
        emit::record(|removal: &mut MemmapRemoval| pagemap.describe(index, removal));
    }
    0
}

/// `void remove_memory_block_devices(unsigned long start, unsigned long size)` (drivers/base/memory.c): memory blocks are removed, and
/// their memmap next (`try_remove_memory()` in mm/memory_hotplug.c). Called once for a range, or for each block whose memmap is on it.
#[kprobe]
fn memory_blocks_removed(ctx: ProbeContext) -> u32 {
    let (Some(start), Some(size)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1)) else { return 0 };
    if ownership::is_active() {
        emit::record(|removal: &mut MemmapRemoval| {
            removal.memory_blocks = 1;
            removal.start = start;
            removal.end = start.wrapping_add(size).wrapping_sub(1);
            Ok(())
        });
    }
    0
}
