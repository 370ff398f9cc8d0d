//! Memmaps of device memory that are removed.

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
