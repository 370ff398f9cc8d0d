//! The info block: `struct nd_pfn_sb`, little-endian, 4 KiB into a namespace in fsdax or devdax mode.
//!
//! Its layout is fixed on media (drivers/nvdimm/pfn.h, the same from 5.10 to 7.3). What a field means depends on the
//! block's version: parsing applies those rules as `nd_pfn_validate()` does, so an [`InfoBlock`] has the values that a
//! current kernel uses.

mod checksum;
mod error;
#[cfg(any(test, feature = "samples"))]
mod sample;
#[cfg(test)]
mod tests;

use crate::reservation::{Geometry, HEAD, Map};

pub use checksum::{Checksum, fletcher64};
pub use error::{GeometryMismatch, ParseError};

/// Where the info block lies, in bytes from the start of the namespace (`SZ_4K`).
pub const OFFSET: u64 = 4096;
/// Size of the whole info block in bytes.
pub const SIZE: usize = 4096;
/// Size in bytes of the part that holds every field but the checksum.
pub const HEAD_SIZE: usize = 96;

const CHECKSUM_AT: usize = 4088;

/// Bytes of a page of `npfns` below minor version 4: those kernels counted in `SZ_4K`, whatever their pages.
const UNNAMED_PAGE: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SuperblockKind {
    /// fsdax: a pfn device under nd_pmem.
    Pfn,
    /// devdax: a dax device.
    Dax,
}

impl SuperblockKind {
    /// The sixteen bytes at the start of the block.
    #[must_use]
    pub const fn signature(self) -> &'static [u8; 16] {
        match self {
            Self::Pfn => b"NVDIMM_PFN_INFO\0",
            Self::Dax => b"NVDIMM_DAX_INFO\0",
        }
    }

    fn from_signature(signature: &[u8; 16]) -> Option<Self> {
        [Self::Pfn, Self::Dax].into_iter().find(|kind| kind.signature() == signature)
    }
}

/// An info block as current kernels read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoBlock {
    pub kind: SuperblockKind,
    /// The block uuid, which each creation generates.
    pub uuid: [u8; 16],
    /// The namespace uuid that the block belongs to; all zero on legacy and e820 regions.
    pub parent_uuid: [u8; 16],
    /// Unused by kernels so far.
    pub flags: u32,
    /// 1 in every block so far.
    pub version_major: u16,
    /// 0 to 4: see the fields that depend on it.
    pub version_minor: u16,
    /// Bytes from `start_pad` to the first usable byte.
    pub dataoff: u64,
    /// Usable pages, of [`Self::page_size`]; of 4 KiB below minor version 4.
    pub npfns: u64,
    /// Where the memmap lives: [`Map::from_mode`] knows the two values that a kernel accepts.
    pub mode: u32,
    /// Bytes cut off at the start; written by older kernels only, 0 below minor version 1.
    pub start_pad: u32,
    /// Bytes cut off at the end; 0 below minor version 1.
    pub end_trunc: u32,
    /// In bytes. Where the block has none (always below minor version 2), the largest power of two in `dataoff`.
    pub align: u64,
    /// Page size in bytes of the kernel that made the block; `None` below minor version 4: the reader then takes its
    /// own.
    pub page_size: Option<u32>,
    /// MAX_STRUCT_PAGE_SIZE in bytes of the kernel that made the block; 64 below minor version 4.
    pub page_struct_size: u16,
}

impl InfoBlock {
    /// Reads the fields from the first 96 bytes or more of a block, without a checksum test.
    ///
    /// # Errors
    /// [`ParseError`] for too few bytes, or a signature that is neither fsdax's nor devdax's.
    pub fn from_head(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() < HEAD_SIZE {
            return Err(ParseError::TooShort { len: bytes.len(), needed: HEAD_SIZE });
        }
        let kind = SuperblockKind::from_signature(&field(bytes, 0)?).ok_or(ParseError::Signature)?;
        let version_minor = u16::from_le_bytes(field(bytes, 54)?);
        let since = |minor| version_minor >= minor;
        let dataoff = u64::from_le_bytes(field(bytes, 56)?);
        let align = if since(2) { u32::from_le_bytes(field(bytes, 84)?) } else { 0 };
        Ok(Self {
            kind,
            uuid: field(bytes, 16)?,
            parent_uuid: field(bytes, 32)?,
            flags: u32::from_le_bytes(field(bytes, 48)?),
            version_major: u16::from_le_bytes(field(bytes, 52)?),
            version_minor,
            dataoff,
            npfns: u64::from_le_bytes(field(bytes, 64)?),
            mode: u32::from_le_bytes(field(bytes, 72)?),
            start_pad: if since(1) { u32::from_le_bytes(field(bytes, 76)?) } else { 0 },
            end_trunc: if since(1) { u32::from_le_bytes(field(bytes, 80)?) } else { 0 },
            align: if align == 0 { implied_align(dataoff) } else { align.into() },
            page_size: if since(4) { Some(u32::from_le_bytes(field(bytes, 88)?)) } else { None },
            page_struct_size: if since(4) { u16::from_le_bytes(field(bytes, 92)?) } else { 64 },
        })
    }

    /// Reads a whole block and verifies its checksum.
    ///
    /// # Errors
    /// [`ParseError`] for too few bytes, a foreign signature or a wrong checksum: a kernel takes each for "no block".
    pub fn from_block(bytes: &[u8]) -> Result<Self, ParseError> {
        let checksum = Checksum::of(bytes)?;
        let block = Self::from_head(bytes)?;
        if checksum.is_right() { Ok(block) } else { Err(ParseError::Checksum(checksum)) }
    }

    /// The block as it lies on the media, with its checksum; an `align` beyond 32 bits is written as 0.
    #[must_use]
    pub fn encode(&self) -> [u8; SIZE] {
        let mut block = [0; SIZE];
        let page_size = self.page_size.unwrap_or(0).to_le_bytes();
        let align = if self.version_minor < 2 { 0 } else { u32::try_from(self.align).unwrap_or(0) };
        put(&mut block, 0, self.kind.signature());
        put(&mut block, 16, &self.uuid);
        put(&mut block, 32, &self.parent_uuid);
        put(&mut block, 48, &self.flags.to_le_bytes());
        put(&mut block, 52, &self.version_major.to_le_bytes());
        put(&mut block, 54, &self.version_minor.to_le_bytes());
        put(&mut block, 56, &self.dataoff.to_le_bytes());
        put(&mut block, 64, &self.npfns.to_le_bytes());
        put(&mut block, 72, &self.mode.to_le_bytes());
        put(&mut block, 76, &self.start_pad.to_le_bytes());
        put(&mut block, 80, &self.end_trunc.to_le_bytes());
        put(&mut block, 84, &align.to_le_bytes());
        put(&mut block, 88, &page_size);
        put(&mut block, 92, &self.page_struct_size.to_le_bytes());
        let checksum = fletcher64(&block);
        put(&mut block, CHECKSUM_AT, &checksum.to_le_bytes());
        block
    }

    /// Where the memmap lives, if `mode` is one that a kernel accepts.
    #[must_use]
    pub const fn map(&self) -> Option<Map> {
        Map::from_mode(self.mode)
    }

    /// Whether it replaces a block that is missing: it is never on media. For a devdax namespace without an info block, a patch that was
    /// proposed upstream has such a block in the kernel's memory, and maps the namespace whole, with its memmap in DRAM.
    #[must_use]
    pub const fn is_virtual(&self) -> bool {
        self.dataoff == 0 && self.start_pad == 0 && self.npfns == 0 && matches!(self.map(), Some(Map::Mem))
    }

    /// Bytes from the start of the namespace to its first usable byte, if they fit 64 bits.
    #[must_use]
    pub const fn reservation(&self) -> Option<u64> {
        self.dataoff.checked_add(self.start_pad as u64)
    }

    /// Whether `npfns` means something. Tools that write images leave it 0; a kernel has 0 only where it cut the whole rest off at
    /// the end.
    #[must_use]
    pub const fn has_npfns(&self) -> bool {
        self.npfns != 0 || self.end_trunc != 0
    }

    /// Whether no kernel wrote the block: `npfns` is not set, or a start is padded, which kernels stopped before version 1.4.
    #[must_use]
    pub const fn is_hand_made(&self) -> bool {
        !self.has_npfns() || (self.start_pad != 0 && self.version_minor >= 4)
    }

    /// Whether the block makes sense in a namespace of `size` bytes at `start`. Whether the running kernel supports its
    /// page size and align is not checked.
    ///
    /// # Errors
    /// The first [`GeometryMismatch`], in the order in which `nd_pfn_validate()` tests them.
    pub fn sanity(&self, start: u64, size: u64) -> Result<(), GeometryMismatch> {
        self.map().ok_or(GeometryMismatch::Mode(self.mode))?;
        if !self.align.is_power_of_two() || self.align > size {
            return Err(GeometryMismatch::Align { align: self.align, size });
        }
        let padding = u64::from(self.start_pad) + u64::from(self.end_trunc);
        let reserved = self.dataoff.checked_add(padding).ok_or(GeometryMismatch::Beyond { size })?;
        let room = size.checked_sub(reserved).ok_or(GeometryMismatch::Beyond { size })?;
        if self.dataoff < HEAD {
            return Err(GeometryMismatch::InHead { dataoff: self.dataoff });
        }
        let first = self.reservation().and_then(|reserved| start.checked_add(reserved));
        if first.ok_or(GeometryMismatch::Beyond { size })? & (self.align - 1) != 0 {
            return Err(GeometryMismatch::Misaligned { start, align: self.align });
        }
        let page_size = self.page_size.map_or(1, u64::from);
        let usable = self.npfns.checked_mul(page_size).ok_or(GeometryMismatch::Npfns { npfns: self.npfns, room })?;
        if usable > room { Err(GeometryMismatch::Npfns { npfns: self.npfns, room }) } else { Ok(()) }
    }

    /// The geometry that the kernel used when it made the block, as far as the block describes it: the size to a page,
    /// and `start` modulo the align, which is all that the formula needs. It stays right after the namespace was
    /// resized or moved. `page_size` is the reading kernel's, which it takes for a block that names none; `compat` its
    /// `memremap_compat_align()`. `None` if the fields contradict each other, or do not describe the size.
    #[must_use]
    pub fn geometry_when_made(&self, page_size: u64, compat: u64) -> Option<Geometry> {
        if !self.has_npfns() {
            return None;
        }
        let align = self.align.max(compat);
        if !align.is_power_of_two() {
            return None;
        }
        let first = self.reservation()?;
        let usable = self.npfns.checked_mul(self.page_size.map_or(UNNAMED_PAGE, u64::from))?;
        let page_size = self.page_size.map_or(page_size, u64::from);
        let size = first.checked_add(usable)?.checked_add(self.end_trunc.into())?;
        let start = first.wrapping_neg() & (align - 1);
        Some(Geometry { start, size, align: self.align, map: self.map()?, page_size, compat })
    }
}

/// A block as it is on the media, from the copy in the kernel's memory; `None` if that is no block. `nd_pfn_validate()`
/// fills in what older versions did not have, and leaves the checksum unchanged: below minor version 4 `page_size` and
/// `page_struct_size`, below 2 `align`, below 1 `start_pad` and `end_trunc`. The writer of such a block left those
/// fields zero; the checksum shows whether that is so.
#[must_use]
pub fn from_kernel_memory(held: &[u8; SIZE]) -> Option<[u8; SIZE]> {
    let written = |block: &[u8; SIZE]| InfoBlock::from_block(block).is_ok();
    if written(held) {
        return Some(*held);
    }
    let mut block = *held;
    if u16::from_le_bytes(field(held, 54).ok()?) < 4 {
        put(&mut block, 88, &[0; 6]);
    }
    written(&block).then_some(block)
}

/// `1UL << ilog2(dataoff)`, which `nd_pfn_validate()` takes for a block without an align; 0 for a dataoff of 0.
const fn implied_align(dataoff: u64) -> u64 {
    match dataoff.checked_ilog2() {
        Some(log) => 1 << log,
        None => 0,
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ParseError> {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.first_chunk().copied().ok_or(ParseError::TooShort { len: bytes.len(), needed: at + N })
}

/// Writes `value` at `at`; both are constants of the layout, so it always fits.
fn put<const N: usize>(block: &mut [u8; SIZE], at: usize, value: &[u8; N]) {
    if let Some(place) = block.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = *value;
    }
}
