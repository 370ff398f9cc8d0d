//! From facts to bytes: the reservation that a namespace has, and the one that it should have.
//!
//! Three kinds of evidence, the strongest first: the info block; the two addresses of sysfs, which only root can read;
//! the two sizes of sysfs, whose difference is dataoff + start_pad + end_trunc.

use pfnwatch_common::reservation::REGRESSED_STRUCT_PAGE;
use pfnwatch_common::{Geometry, InfoBlock, Map, Rejection};

use super::reserved_with;
use crate::analysis::memmap::{MappedNamespace, dram_bytes};
use crate::model::facts::{Facts, KernelParameters, Obstacle};
use crate::model::units::Bytes;
use crate::model::verdict::{Evidence, Numbers};

/// The largest memory section, in bytes (SECTION_SIZE_BITS; 30 on arm64 before 5.12). Kernels before 5.3 cut what does not
/// fill one off at the end, and padded the start to the next (`nd_pfn_init()` in 5.2's drivers/nvdimm/pfn_devs.c).
pub(super) const MAX_SECTION: u64 = if cfg!(target_arch = "aarch64") { 1 << 30 } else { 128 << 20 };

/// The reservation of one namespace beside its ideal, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// The namespace as it is now. Its start is real, or 0 if it does not matter.
    pub(super) geometry: Geometry,
    /// The namespace as it was when its block was made, as far as the block describes it.
    pub(super) made: Option<Geometry>,
    pub(super) reservation: u64,
    pub(super) end_trunc: u64,
    pub(super) usable: u64,
    pub(super) ideal: u64,
    pub(super) evidence: Evidence,
}

/// Reservation, end_trunc and usable bytes, with where they came from.
struct Split {
    reservation: u64,
    end_trunc: u64,
    usable: u64,
    evidence: Evidence,
}

pub(super) fn measure(facts: &Facts, host: &KernelParameters, reference: u64) -> Result<Measured, Obstacle> {
    let size = facts.size.ok_or_else(|| missing("its size"))?;
    let block = facts.block.as_ref();
    let map = facts.map.or_else(|| block.and_then(InfoBlock::map)).ok_or_else(|| missing("its map"))?;
    let align = align(facts, host).ok_or_else(|| missing("its align"))?;
    let page_size = block.and_then(|block| block.page_size).map_or(host.page_size, u64::from);
    let mut geometry = Geometry { start: 0, size, align, map, page_size, compat: host.compat };
    geometry.start = start(facts, &geometry)?;
    let split = split(facts, &geometry)?;
    if block.is_none() {
        geometry.page_size = page_size_that_fits(&geometry, split.reservation, reference, host);
    }
    let ideal = ideal(&geometry, block, reference).map_err(|rejection| match rejection {
        Rejection::StartMisaligned => Obstacle::Conflict(format!(
            "it is in use, and its start {:#x} is not a multiple of {}",
            geometry.start,
            Bytes(host.compat)
        )),
        other => Obstacle::Unreadable(format!("no reservation can be computed for it: {other}")),
    })?;
    let made = block.and_then(|block| block.geometry_when_made(host.page_size, host.compat));
    let Split { reservation, end_trunc, usable, evidence } = split;
    let measured = Measured { geometry, made, reservation, end_trunc, usable, ideal, evidence };
    let (excess, align) = (measured.excess(), measured.effective_align());
    // Sizes do not show at which end the bytes are missing: an older kernel's sections, or a larger memmap. Start and end
    // are multiples of `compat` here, and so is what is missing at each.
    if evidence == Evidence::Inferred && excess > align && excess - align <= 2 * MAX_SECTION.saturating_sub(host.compat)
    {
        return Err(Obstacle::NeedsRoot(
            "to know whether its memmap is larger or an older kernel has cut it off at the end, its first usable address",
        ));
    }
    Ok(measured)
}

/// The align that the formula takes. A block below minor version 2 records none, and what the kernel then derives from
/// its dataoff (as much as 16 GiB for 1 TiB) was never asked for: such a block is judged at the kernel's own.
fn align(facts: &Facts, host: &KernelParameters) -> Option<u64> {
    match &facts.block {
        Some(block) if block.version_minor < 2 => Some(host.compat),
        Some(block) => Some(block.align),
        None => facts.align,
    }
}

/// The start of the namespace; 0 if it is unknown and does not matter, because every namespace starts at a multiple of
/// `compat`, and the align is no coarser.
fn start(facts: &Facts, geometry: &Geometry) -> Result<u64, Obstacle> {
    match facts.start {
        Some(start) => Ok(start),
        None if geometry.align <= geometry.compat => Ok(0),
        None => Err(Obstacle::NeedsRoot("the namespace's start address")),
    }
}

/// The strongest evidence; if there are two kinds, they must agree.
fn split(facts: &Facts, geometry: &Geometry) -> Result<Split, Obstacle> {
    let Some(block) = &facts.block else {
        return of_addresses(facts, geometry.size)?.map_or_else(|| of_sizes(facts, geometry), Ok);
    };
    let split = of_block(block, facts, geometry)?;
    // The usable bytes need not agree: a block of a namespace that shrank still counts its old pages.
    let in_use = facts.start.zip(facts.first_usable).map(|(start, first)| first.checked_sub(start));
    match in_use {
        Some(in_use) if in_use != Some(split.reservation) => Err(Obstacle::Conflict(format!(
            "the info block has a reservation of {} bytes, the kernel uses {}",
            split.reservation,
            in_use.map_or("an address before the start".to_owned(), |bytes| bytes.to_string())
        ))),
        _ => Ok(split),
    }
}

fn of_block(block: &InfoBlock, facts: &Facts, geometry: &Geometry) -> Result<Split, Obstacle> {
    let reservation = block.reservation().ok_or_else(|| beyond("the info block's dataoff"))?;
    let end_trunc = u64::from(block.end_trunc);
    let room = geometry.size.checked_sub(reservation).and_then(|rest| rest.checked_sub(end_trunc));
    let room = room.ok_or_else(|| beyond("the info block's reservation"))?;
    let evidence = if facts.observed { Evidence::Observed } else { Evidence::InfoBlock };
    // As the kernel's size attribute has it, after a resize too; a size of broken pages leaves less than a page over.
    let whole_pages = room & !(geometry.page_size.max(1) - 1);
    let usable = facts.usable.map_or(whole_pages, |usable| usable.min(room));
    Ok(Split { reservation, end_trunc, usable, evidence })
}

/// Root: the first usable address less the first address.
fn of_addresses(facts: &Facts, size: u64) -> Result<Option<Split>, Obstacle> {
    let (Some(start), Some(first), Some(usable)) = (facts.start, facts.first_usable, facts.usable) else {
        return Ok(None);
    };
    let reservation = first.checked_sub(start).ok_or_else(|| beyond("its first usable address"))?;
    let used = reservation.checked_add(usable).ok_or_else(|| beyond("its usable size"))?;
    let end_trunc = size.checked_sub(used).ok_or_else(|| beyond("its usable size"))?;
    Ok(Some(Split { reservation, end_trunc, usable, evidence: Evidence::Sysfs }))
}

/// Anyone: the sum of reservation and end_trunc, less what the formula cuts off at the end.
fn of_sizes(facts: &Facts, geometry: &Geometry) -> Result<Split, Obstacle> {
    let usable = facts.usable.ok_or_else(|| missing("its usable size"))?;
    let sum = geometry.size.checked_sub(usable).ok_or_else(|| beyond("its usable size"))?;
    let align = geometry.align.max(geometry.compat);
    if !align.is_power_of_two() {
        return Err(Obstacle::Unreadable(format!("its align, {align}, is not a power of two")));
    }
    let end = geometry.start.checked_add(geometry.size).ok_or_else(|| beyond("its end"))?;
    let end_trunc = end & (align - 1);
    let reservation = sum.checked_sub(end_trunc).ok_or_else(|| beyond("its usable size"))?;
    Ok(Split { reservation, end_trunc, usable, evidence: Evidence::Inferred })
}

/// The ideal. A namespace that an older kernel shifted by start_pad may start where today's formula refuses: then the
/// part behind the padding is used.
fn ideal(geometry: &Geometry, block: Option<&InfoBlock>, reference: u64) -> Result<u64, Rejection> {
    let start_pad = block.map_or(0, |block| u64::from(block.start_pad));
    match reserved_with(geometry, reference) {
        Err(Rejection::StartMisaligned) if start_pad > 0 => {
            let start = geometry.start.checked_add(start_pad).ok_or(Rejection::Overflow)?;
            let size = geometry.size.checked_sub(start_pad).ok_or(Rejection::TooSmall)?;
            let behind = reserved_with(&Geometry { start, size, ..*geometry }, reference)?;
            behind.checked_add(start_pad).ok_or(Rejection::Overflow)
        }
        other => other,
    }
}

/// The page size with which the reservation was computed, if no block records it: the host's, unless only a smaller one
/// explains it to the byte.
fn page_size_that_fits(geometry: &Geometry, reservation: u64, reference: u64, host: &KernelParameters) -> u64 {
    if geometry.map == Map::Mem {
        return host.page_size;
    }
    let fits = |page_size: u64| {
        let geometry = Geometry { page_size, ..*geometry };
        [reference, REGRESSED_STRUCT_PAGE].into_iter().any(|n| reserved_with(&geometry, n) == Ok(reservation))
    };
    let smaller = [4096, 16384].into_iter().filter(|size| *size < host.page_size);
    if fits(host.page_size) {
        host.page_size
    } else {
        smaller.into_iter().find(|size| fits(*size)).unwrap_or(host.page_size)
    }
}

impl Measured {
    pub(super) fn effective_align(&self) -> u64 {
        self.geometry.align.max(self.geometry.compat)
    }

    pub(super) fn numbers(&self, facts: &Facts, host: &KernelParameters) -> Numbers {
        // What this kernel itself would need: its pages, its struct page.
        let own = Geometry { page_size: host.page_size, ..self.geometry };
        let needed = host.struct_page.and_then(|bytes| reserved_with(&own, bytes).ok());
        Numbers {
            size: Some(self.geometry.size),
            usable: Some(self.usable),
            reservation: Some(self.reservation),
            end_trunc: Some(self.end_trunc),
            ideal: Some(self.ideal),
            excess: Some(self.excess()),
            unused: needed.map(|needed| self.reservation.saturating_sub(needed)),
            dram: self.dram(facts, host),
        }
    }

    /// What system RAM takes depends on memory blocks, which the facts do not have.
    fn dram(&self, facts: &Facts, host: &KernelParameters) -> Option<u64> {
        match (facts.enabled, facts.system_ram) {
            (false, _) => Some(0),
            (true, true) => None,
            (true, false) => dram_bytes(&self.mapped(facts, host)?, host),
        }
    }

    /// What the kernel maps of it, if that is known: without an info block only if a formula of kernels that pad no start
    /// explains the reservation.
    pub(super) fn mapped(&self, facts: &Facts, host: &KernelParameters) -> Option<MappedNamespace> {
        let start_pad = match &facts.block {
            Some(block) => u64::from(block.start_pad),
            None => {
                let sizes = [Some(REGRESSED_STRUCT_PAGE), host.max_struct_page, host.struct_page];
                let explains = |bytes| reserved_with(&self.geometry, bytes) == Ok(self.reservation);
                let explained = self.excess() == 0 || sizes.into_iter().flatten().any(explains);
                explained.then_some(0)?
            }
        };
        Some(MappedNamespace {
            mode: facts.mode,
            map: Some(self.geometry.map),
            start: facts.start.and_then(|start| start.checked_add(start_pad)),
            size: self.geometry.size.checked_sub(start_pad)?.checked_sub(self.end_trunc)?,
            align: self.geometry.align,
        })
    }

    pub(super) fn excess(&self) -> u64 {
        self.reservation.saturating_sub(self.ideal)
    }

    /// Bytes that are cut off at the end although they fill an align.
    pub(super) fn cut_at_end(&self) -> u64 {
        let align = self.effective_align();
        let end = self.geometry.start.wrapping_add(self.geometry.size);
        if align.is_power_of_two() { self.end_trunc.saturating_sub(end & (align - 1)) } else { 0 }
    }
}

fn missing(what: &str) -> Obstacle {
    Obstacle::Unreadable(format!("{what} is not known"))
}

fn beyond(what: &str) -> Obstacle {
    Obstacle::Conflict(format!("{what} lies outside the namespace"))
}
