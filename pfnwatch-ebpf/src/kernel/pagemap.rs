//! `struct dev_pagemap`.

use pfnwatch_common::record::MemmapRemoval;

use super::{Read, value};

#[derive(Clone, Copy)]
pub(crate) struct Pagemap(u64);

/// Bytes of a `struct range` (include/linux/range.h): two u64.
const RANGE: u64 = 16;

/// `PGMAP_ALTMAP_VALID` (include/linux/memremap.h).
const ALTMAP_VALID: u32 = 1;

impl Pagemap {
    #[inline(always)]
    pub(crate) fn at(address: u64) -> Self {
        Self(address)
    }

    /// How many ranges are mapped.
    #[inline(always)]
    pub(crate) fn ranges(self) -> Read<u64> {
        let count: i32 = value(self.0, |layout| &layout.dev_pagemap.nr_range)?;
        Ok(u64::from(count.max(0).cast_unsigned()))
    }

    /// Whether the memmap lies on the ranges themselves (map=dev).
    #[inline(always)]
    pub(crate) fn has_altmap(self) -> Read<bool> {
        let flags: u32 = value(self.0, |layout| &layout.dev_pagemap.flags)?;
        Ok(flags & ALTMAP_VALID != 0)
    }

    #[inline(always)]
    pub(crate) fn describe(self, index: u64, into: &mut MemmapRemoval) -> Read<()> {
        let before = self.0.wrapping_add(index * RANGE);
        into.start = value(before, |layout| &layout.dev_pagemap.range_start)?;
        into.end = value(before, |layout| &layout.dev_pagemap.range_end)?;
        into.vmemmap_shift = value(self.0, |layout| &layout.dev_pagemap.vmemmap_shift)?;
        Ok(())
    }
}
