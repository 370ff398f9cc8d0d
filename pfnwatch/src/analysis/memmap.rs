//! DRAM that holds the struct pages of a namespace or a device: one function for `scan`, `predict`, events and remedies.
//!
//! The kernel gives struct pages to the whole range that it maps, the reservation included: from `start + start_pad` to
//! `end - end_trunc` (`__nvdimm_setup_pfn()` in drivers/nvdimm/pfn_devs.c), section by section (`__add_pages()` in
//! mm/memory_hotplug.c). What cannot be computed to the byte is `None`. Page tables are not counted.

pub mod device;
#[cfg(test)]
mod tests;

use pfnwatch_common::{Geometry, Map, Reservation};

use crate::model::facts::{KernelParameters, NamespaceMode};
use crate::model::units::Bytes;

/// What the kernel maps of a namespace while it is enabled; sizes and addresses in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedNamespace {
    pub mode: NamespaceMode,
    /// `None` for a namespace that is mapped whole, whose memmap is in DRAM.
    pub map: Option<Map>,
    /// Physical address of the first mapped byte, if it is known.
    pub start: Option<u64>,
    pub size: u64,
    pub align: u64,
}

impl MappedNamespace {
    /// A namespace as a current kernel would make it: from its start to its aligned end.
    #[must_use]
    pub const fn of(mode: NamespaceMode, geometry: &Geometry, reserved: &Reservation) -> Self {
        Self {
            mode,
            map: Some(geometry.map),
            start: Some(geometry.start),
            size: geometry.size.saturating_sub(reserved.end_trunc),
            align: geometry.align,
        }
    }
}

/// Which sections' memmaps come out of the altmap, that is from the namespace itself, with map=dev.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Altmap {
    /// Those that are mapped whole: `vmemmap_populate()` in arch/x86/mm/init_64.c passes no altmap for parts of a section.
    WholeSections,
    /// All (arch/arm64/mm/mmu.c).
    AllSections,
}

/// What of an architecture decides where a memmap is made.
#[derive(Clone, Copy, Debug)]
struct SectionRules {
    /// Bytes of memory in a section (SECTION_SIZE_BITS).
    section: u64,
    altmap: Altmap,
    /// Parts of a section get exactly the pages that their struct pages fill.
    exact_parts: bool,
}

/// `VMEMMAP_RESERVE_NR` in include/linux/mm.h: pages that remain of a deduplicated memmap.
const REMAINING_PAGES: u64 = 2;

const fn section_rules(page_size: u64) -> Option<SectionRules> {
    if cfg!(target_arch = "x86_64") {
        Some(SectionRules { section: 128 << 20, altmap: Altmap::WholeSections, exact_parts: true })
    } else if cfg!(target_arch = "aarch64") {
        // arch/arm64/include/asm/sparsemem.h since 5.12. With pages of 4 KiB, kernels before 6.15 make a whole huge page
        // for a part of a section.
        let section = if page_size == 64 << 10 { 512 << 20 } else { 128 << 20 };
        Some(SectionRules { section, altmap: Altmap::AllSections, exact_parts: page_size != 4 << 10 })
    } else {
        None
    }
}

/// DRAM in bytes that holds the struct pages of a mapped namespace; `None` if it cannot be computed.
#[must_use]
pub fn dram_bytes(mapped: &MappedNamespace, host: &KernelParameters) -> Option<u64> {
    dram_bytes_with(mapped, host, section_rules(host.page_size)?)
}

fn dram_bytes_with(mapped: &MappedNamespace, host: &KernelParameters, rules: SectionRules) -> Option<u64> {
    // The kernel maps no parts of a subsection (`check_pfn_span()` in mm/memory_hotplug.c).
    let is_mappable = |bytes: u64| bytes.checked_rem(host.compat) == Some(0);
    if !is_mappable(mapped.size) || !mapped.start.is_none_or(is_mappable) {
        return None;
    }
    match mapped.map {
        Some(Map::Dev) => dram_with_altmap(mapped, host, rules),
        Some(Map::Mem) | None => match is_deduplicated(mapped.mode, mapped.align, host)? {
            true => deduplicated(mapped, host),
            false => plain(mapped, host, rules),
        },
    }
}

/// Whether the kernel deduplicates the memmap of such a namespace with map=mem; `None` if that is unknown.
///
/// As `vmemmap_can_optimize()` in include/linux/mm.h: compound pages, which only devdax has, whose memmaps take more than
/// the pages that remain, and a struct page that is a power of two.
#[must_use]
pub fn is_deduplicated(mode: NamespaceMode, align: u64, host: &KernelParameters) -> Option<bool> {
    if mode != NamespaceMode::Devdax || align <= host.page_size {
        return Some(false);
    }
    let struct_page = host.struct_page?;
    let pages = align.checked_div(host.page_size)?.checked_mul(struct_page)?.checked_div(host.page_size)?;
    if !struct_page.is_power_of_two() || pages <= REMAINING_PAGES { Some(false) } else { host.deduplicates }
}

/// Each compound page of `align` bytes keeps two pages of its memmap, the others are mapped onto the second
/// (`vmemmap_populate_compound_pages()` in mm/sparse-vmemmap.c).
fn deduplicated(mapped: &MappedNamespace, host: &KernelParameters) -> Option<u64> {
    // The kernel populates a compound page over several sections from the start of the range on, and counts it by its
    // address: these agree only if the range starts at a multiple of the align.
    let aligned = |bytes: u64| bytes.checked_rem(mapped.align) == Some(0);
    let start_fits = mapped.align <= host.compat || mapped.start.is_some_and(aligned);
    if !start_fits || !aligned(mapped.size) {
        return None;
    }
    mapped.size.checked_div(mapped.align)?.checked_mul(REMAINING_PAGES)?.checked_mul(host.page_size)
}

fn plain(mapped: &MappedNamespace, host: &KernelParameters, rules: SectionRules) -> Option<u64> {
    if !rules.exact_parts {
        let whole = |bytes: u64| bytes.checked_rem(rules.section) == Some(0);
        if !whole(mapped.size) || !mapped.start.is_some_and(whole) {
            return None;
        }
    }
    if !fills_pages(mapped, host, rules) {
        return None;
    }
    struct_pages(mapped.size, host)
}

/// With map=dev: what the sections take from DRAM that are mapped in part.
fn dram_with_altmap(mapped: &MappedNamespace, host: &KernelParameters, rules: SectionRules) -> Option<u64> {
    if rules.altmap == Altmap::AllSections {
        return Some(0);
    }
    if !fills_pages(mapped, host, rules) {
        return None;
    }
    struct_pages(mapped.size.checked_sub(whole_sections(mapped, rules)?)?, host)
}

/// Bytes of the sections that are mapped whole.
fn whole_sections(mapped: &MappedNamespace, rules: SectionRules) -> Option<u64> {
    let start = mapped.start?;
    let end = start.checked_add(mapped.size)?;
    let first_whole = start.checked_next_multiple_of(rules.section)?.min(end);
    let last_whole = end.checked_sub(end.checked_rem(rules.section)?)?.max(first_whole);
    last_whole.checked_sub(first_whole)
}

/// DRAM in bytes that is lost of a memmap with map=mem if the kernel frees each huge page of it as if it were one page; `None`
/// if it cannot be computed. Whole sections have huge pages, parts of them and deduplicated memmaps do not.
#[must_use]
pub fn unreturned_bytes(mapped: &MappedNamespace, host: &KernelParameters) -> Option<u64> {
    let rules = section_rules(host.page_size)?;
    dram_bytes_with(mapped, host, rules)?;
    if is_deduplicated(mapped.mode, mapped.align, host)? {
        return Some(0);
    }
    let huge = huge_page(host);
    let pieces = struct_pages(whole_sections(mapped, rules)?, host)?.checked_div(huge)?;
    pieces.checked_mul(huge - host.page_size)
}

/// Whether the struct pages of the range, and of each section, fill whole pages and huge pages of memmap: else neighbours
/// share them.
fn fills_pages(mapped: &MappedNamespace, host: &KernelParameters, rules: SectionRules) -> bool {
    let fills = |bytes: u64, page: u64| {
        struct_pages(bytes, host).and_then(|memmap| memmap.checked_rem(page)).is_some_and(|rest| rest == 0)
    };
    let start = mapped.start.unwrap_or(host.compat);
    fills(mapped.size, host.page_size) && fills(start, host.page_size) && fills(rules.section, huge_page(host))
}

/// One page of page table entries, of 8 bytes each, maps a huge page of memmap. Pages of 16 and 64 KiB have none (arm64).
const fn huge_page(host: &KernelParameters) -> u64 {
    if host.page_size == 4 << 10 { host.page_size * (host.page_size / 8) } else { host.page_size }
}

/// Bytes of the struct pages of `bytes`, in DRAM or not, without deduplication.
#[must_use]
pub fn struct_pages(bytes: u64, host: &KernelParameters) -> Option<u64> {
    bytes.checked_div(host.page_size)?.checked_mul(host.struct_page?)
}

/// What map=mem costs in DRAM on this kernel, for the end of a sentence that offers it: `16 GiB of DRAM for the memmap`.
#[must_use]
pub fn cost_of_map_mem(mapped: &MappedNamespace, host: &KernelParameters) -> String {
    let mapped = MappedNamespace { map: Some(Map::Mem), ..*mapped };
    let deduplicated = is_deduplicated(mapped.mode, mapped.align, host) == Some(true);
    let loss = host.memmap_loss(deduplicated);
    match (dram_bytes(&mapped, host), struct_pages(mapped.size, host)) {
        (Some(bytes), _) => format!("{} of DRAM for the memmap{loss}", Bytes(bytes)),
        (None, Some(most)) => format!("at most about {} of DRAM for the memmap{loss}", Bytes(most)),
        (None, None) => format!("an unknown amount of DRAM for the memmap (sizeof(struct page) is unknown){loss}"),
    }
}
