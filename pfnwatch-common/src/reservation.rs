//! THE formula: what `nvdimm_setup_pfn()` of Linux reserves of a namespace for its memmap.
//!
//! It follows `nd_pfn_init()` in drivers/nvdimm/pfn_devs.c (read in 6.1.192, 6.12.107, 7.2.13 and 7.3.4) line by line.
//! The guard runs it inside the kernel, `predict`, `scan` and `plan` in user space: so it is `const`, has no loop and no
//! panic, and nothing that LLVM turns into what eBPF has not: a checked multiplication becomes 128-bit arithmetic there
//! (`__multi3`), and a count of bits, or a division by a known power of two, a table in memory. Whatever does not fit is
//! a [`Rejection`], never a wrapped number.

#[cfg(test)]
mod tests;

use core::fmt;

/// What the kernel leaves alone at the start of a namespace (`SZ_8K`): the info block lies in its second half.
pub const HEAD: u64 = 8192;

/// MAX_STRUCT_PAGE_SIZE of every released kernel without the regression, in bytes: the *ideal* is computed with it.
pub const REFERENCE_STRUCT_PAGE: u64 = 64;

/// MAX_STRUCT_PAGE_SIZE of the regressed kernels, in bytes: 6.1 to 6.1.11 and 6.2-rc1 to 6.2-rc7.
pub const REGRESSED_STRUCT_PAGE: u64 = 128;

/// The limit of pages, so that N times their number never wraps.
const MAX_PAGES: u64 = u64::MAX >> 16;

/// Where the memmap of a namespace lives, as ndctl's `--map` names it; the numbers are the info block's `mode` field
/// (`enum nd_pfn_mode`, drivers/nvdimm/nd.h: `PFN_MODE_RAM` and `PFN_MODE_PMEM`).
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Map {
    /// In DRAM: the reservation holds the info block alone.
    Mem = 1,
    /// On the persistent memory itself, in the reservation.
    Dev = 2,
}

impl Map {
    /// The map that an info block's `mode` field means, if it means one.
    #[must_use]
    pub const fn from_mode(mode: u32) -> Option<Self> {
        match mode {
            1 => Some(Self::Mem),
            2 => Some(Self::Dev),
            _ => None,
        }
    }
}

/// A namespace, and the kernel that would set it up; all in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Physical address of the namespace's first byte.
    pub start: u64,
    pub size: u64,
    /// The pfn or dax device's align: a power of two up to 2 GiB (the info block keeps it in 32 bits).
    pub align: u64,
    pub map: Map,
    /// PAGE_SIZE of the kernel: a power of two up to 2 GiB.
    pub page_size: u64,
    /// The kernel's `memremap_compat_align()`: a power of two up to 2 GiB; 2 MiB on x86.
    pub compat: u64,
}

/// What the kernel writes into the info block; all in bytes but `npfns`.
///
/// `size = dataoff + usable + end_trunc`, but for the part of a last page that a size of broken pages leaves over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// From the start of the namespace to its first usable byte (current kernels write a `start_pad` of 0).
    pub dataoff: u64,
    /// What is cut off at the end, so that the end is aligned.
    pub end_trunc: u64,
    pub npfns: u64,
    /// Usable bytes: `npfns` pages.
    pub usable: u64,
}

/// How the kernel at hand behaves where kernels differ. It shows in the code of `nvdimm_setup_pfn`; versions do not show it, since
/// distributions take over later changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelQuirks {
    /// A block with `dataoff == size - end_trunc`, that is with nothing usable, is still written, as long as `dataoff`
    /// lies inside the namespace: 6.1 and older compare `dataoff` with `size`, newer kernels with `size - end_trunc`.
    pub allows_empty: bool,
}

/// Why the kernel would not set the namespace up, or why the numbers describe no namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// `page_size` is not a power of two, or does not fit the info block's 32 bits.
    PageSize,
    /// `max_struct_page` does not fit the info block's 16 bits.
    StructPage,
    /// `align` is not a power of two, or does not fit the info block's 32 bits.
    Align,
    /// `compat` is not a power of two of at most 32 bits.
    Compat,
    /// `start` is not a multiple of `compat`: -EINVAL, or -EOPNOTSUPP where a block is met.
    StartMisaligned,
    /// Not even the first 8 KiB fit. (The kernel's own subtraction wraps; no namespace is that small.)
    TooSmall,
    /// The namespace, or its memmap, would end beyond the last 64-bit address, or it has more than 2^48 pages: 2^60
    /// bytes with pages of 4 KiB, more than any processor can address.
    Overflow,
    /// The aligned end lies before the start, so that `size - end_trunc` is negative. Kernels after 6.1 wrap here and
    /// may write a block that is of no use; 6.1 and older answer -ENXIO.
    EndBeforeStart,
    /// Nothing usable is left: -ENXIO, "unable to satisfy requested alignment".
    NoRoom,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PageSize => "the page size is not a power of two of at most 2 GiB",
            Self::StructPage => "the size of a struct page does not fit the info block's 16 bits",
            Self::Align => "the align is not a power of two of at most 2 GiB",
            Self::Compat => "the kernel's compatible alignment is not a power of two of at most 2 GiB",
            Self::StartMisaligned => "the namespace does not start at a multiple of the kernel's compatible alignment",
            Self::TooSmall => "the namespace is smaller than the 8 KiB that the kernel leaves alone at its start",
            Self::Overflow => "the namespace or its memmap is larger than any processor can address",
            Self::EndBeforeStart => "the namespace ends before its first aligned address: take a smaller align",
            Self::NoRoom => "nothing usable is left after the reservation: take a larger namespace or a smaller align",
        })
    }
}

impl core::error::Error for Rejection {}

/// What the kernel reserves of `geometry` when its MAX_STRUCT_PAGE_SIZE is `max_struct_page` bytes. With the reference
/// struct page size (64) for `max_struct_page`, this is the *ideal*.
///
/// # Errors
/// A [`Rejection`] if the kernel refuses the namespace, or if the numbers describe no namespace.
#[inline]
pub const fn reservation(
    geometry: &Geometry,
    max_struct_page: u64,
    quirks: KernelQuirks,
) -> Result<Reservation, Rejection> {
    let Geometry { start, size, page_size, .. } = *geometry;
    // align = max(nd_pfn->align, memremap_compat_align())
    let align = match effective_align(geometry) {
        Ok(align) => align,
        Err(rejection) => return Err(rejection),
    };
    if !is_power_of_32_bits(page_size) {
        return Err(Rejection::PageSize);
    }
    if max_struct_page > u16::MAX as u64 {
        return Err(Rejection::StructPage);
    }
    if start & (geometry.compat - 1) != 0 {
        return Err(Rejection::StartMisaligned);
    }
    if size < HEAD {
        return Err(Rejection::TooSmall);
    }
    let Some(end) = start.checked_add(size) else { return Err(Rejection::Overflow) };
    // end_trunc = start + size - ALIGN_DOWN(start + size, align)
    let end_trunc = end & (align - 1);
    let dataoff = match dataoff(geometry, align, max_struct_page) {
        Some(dataoff) => dataoff,
        None => return Err(Rejection::Overflow),
    };
    if end_trunc > size {
        return Err(Rejection::EndBeforeStart);
    }
    let room = size - end_trunc;
    let refused = if quirks.allows_empty { dataoff >= size } else { dataoff >= room };
    // Under the old rule dataoff cannot exceed `room`: both ends are multiples of `align`. The test costs nothing.
    if refused || dataoff > room {
        return Err(Rejection::NoRoom);
    }
    // npfns = PHYS_PFN(size - offset - end_trunc)
    let usable = (room - dataoff) & !(page_size - 1);
    Ok(Reservation { dataoff, end_trunc, npfns: usable.wrapping_shr(log2(page_size)), usable })
}

/// The larger of the device's align and the kernel's, both checked; at least 1.
#[inline]
const fn effective_align(geometry: &Geometry) -> Result<u64, Rejection> {
    let Geometry { align, compat, .. } = *geometry;
    if !is_power_of_32_bits(align) {
        return Err(Rejection::Align);
    }
    if !is_power_of_32_bits(compat) {
        return Err(Rejection::Compat);
    }
    Ok(if align > compat { align } else { compat })
}

/// Whether it is a power of two that fits the info block's 32-bit fields.
#[inline]
const fn is_power_of_32_bits(number: u64) -> bool {
    number.is_power_of_two() && number <= u32::MAX as u64
}

/// The logarithm of a power of two of 32 bits, by halving.
#[inline]
const fn log2(power: u64) -> u32 {
    let (mut rest, mut log) = (power, 0);
    if rest >= 1 << 16 {
        (rest, log) = (rest >> 16, 16);
    }
    if rest >= 1 << 8 {
        (rest, log) = (rest >> 8, log + 8);
    }
    if rest >= 1 << 4 {
        (rest, log) = (rest >> 4, log + 4);
    }
    if rest >= 1 << 2 {
        (rest, log) = (rest >> 2, log + 2);
    }
    if rest >= 2 { log + 1 } else { log }
}

/// `ALIGN(start + SZ_8K + page_map_size, align) - start`; `None` if that exceeds 64 bits.
#[inline]
const fn dataoff(geometry: &Geometry, align: u64, max_struct_page: u64) -> Option<u64> {
    let Geometry { start, size, map, page_size, .. } = *geometry;
    let memmap = match map {
        Map::Dev => {
            // npfns = PHYS_PFN(size - SZ_8K), over the whole namespace: dataoff is not taken off yet.
            let Some(behind_head) = size.checked_sub(HEAD) else { return None };
            let npfns = behind_head.wrapping_shr(log2(page_size));
            if npfns > MAX_PAGES {
                return None;
            }
            // Cannot wrap: 48 bits times the 16 that `reservation` accepts.
            npfns.wrapping_mul(max_struct_page)
        }
        Map::Mem => 0,
    };
    let Some(head) = start.checked_add(HEAD) else { return None };
    let Some(first) = head.checked_add(memmap) else { return None };
    let Some(raised) = first.checked_add(align - 1) else { return None };
    (raised & !(align - 1)).checked_sub(start)
}
