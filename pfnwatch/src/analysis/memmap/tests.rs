use proptest::prelude::*;

use super::*;
use crate::model::memmap_return::MemmapVerdict;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const X86_64: SectionRules = SectionRules { section: 128 * MIB, altmap: Altmap::WholeSections, exact_parts: true };

fn host() -> KernelParameters {
    KernelParameters::SAMPLE
}

fn fsdax(map: Map) -> MappedNamespace {
    MappedNamespace { mode: NamespaceMode::Fsdax, map: Some(map), start: Some(4 * GIB), size: GIB, align: 2 * MIB }
}

fn devdax(align: u64) -> MappedNamespace {
    MappedNamespace { mode: NamespaceMode::Devdax, align, ..fsdax(Map::Mem) }
}

fn on_x86_64(mapped: &MappedNamespace) -> Option<u64> {
    dram_bytes_with(mapped, &host(), X86_64)
}

#[test]
fn one_gib_is_as_kernels_have_it() {
    let whole = MappedNamespace { mode: NamespaceMode::Whole, map: None, align: 4096, ..fsdax(Map::Mem) };
    for (mapped, bytes) in [
        (fsdax(Map::Mem), 16 * MIB),
        (devdax(4 * KIB), 16 * MIB),
        // 1,024 pages.
        (devdax(2 * MIB), 4 * MIB),
        (devdax(GIB), 8 * KIB),
        (fsdax(Map::Dev), 0),
        (whole, 16 * MIB),
        (MappedNamespace { size: 512 * MIB, ..whole }, 8 * MIB),
    ] {
        assert_eq!(on_x86_64(&mapped), Some(bytes), "{mapped:?}");
    }
}

/// One part of a section at each end, and a range within a section.
#[test]
fn parts_of_sections_take_dram_with_map_dev() {
    let dev = |start, size| on_x86_64(&MappedNamespace { start: Some(start), size, ..fsdax(Map::Dev) });
    let subsection = 32 * KIB;
    assert_eq!(dev(4 * GIB + 2 * MIB, GIB), Some(64 * subsection));
    assert_eq!(dev(4 * GIB + 126 * MIB, 130 * MIB), Some(subsection));
    assert_eq!(dev(4 * GIB, 128 * MIB + 2 * MIB), Some(subsection));
    assert_eq!(dev(4 * GIB + 2 * MIB, 4 * MIB), Some(2 * subsection));
    assert_eq!(dev(4 * GIB + 126 * MIB, 4 * MIB), Some(2 * subsection), "two parts, and no whole section");
    let arm64 = SectionRules { altmap: Altmap::AllSections, exact_parts: false, ..X86_64 };
    let odd = MappedNamespace { start: Some(4 * GIB + 2 * MIB), ..fsdax(Map::Dev) };
    assert_eq!(dram_bytes_with(&odd, &host(), arm64), Some(0));
    let odd = MappedNamespace { map: Some(Map::Mem), ..odd };
    assert_eq!(dram_bytes_with(&odd, &host(), arm64), None, "kernels differ in parts of sections");
}

#[test]
fn what_cannot_be_computed_is_unknown() {
    let unknown = |mapped: MappedNamespace, host: KernelParameters| {
        assert_eq!(dram_bytes_with(&mapped, &host, X86_64), None, "{mapped:?} {host:?}");
    };
    unknown(fsdax(Map::Mem), KernelParameters { struct_page: None, ..host() });
    // Sections share huge pages of memmap.
    unknown(fsdax(Map::Mem), KernelParameters { struct_page: Some(80), ..host() });
    unknown(fsdax(Map::Mem), KernelParameters { struct_page: Some(32), ..host() });
    unknown(MappedNamespace { start: None, ..fsdax(Map::Dev) }, host());
    unknown(MappedNamespace { start: Some(4 * GIB + 4096), ..fsdax(Map::Dev) }, host());
    unknown(MappedNamespace { size: GIB + 4096, ..fsdax(Map::Mem) }, host());
    unknown(devdax(2 * MIB), KernelParameters { deduplicates: None, ..host() });
    unknown(MappedNamespace { start: Some(4 * GIB + 2 * MIB), ..devdax(GIB) }, host());
    unknown(MappedNamespace { start: None, ..devdax(GIB) }, host());
    assert_eq!(on_x86_64(&MappedNamespace { start: None, ..devdax(2 * MIB) }), Some(4 * MIB), "any start will do");
}

/// Deduplication is for devdax, and only where it saves pages.
#[test]
fn not_everything_is_deduplicated() {
    assert_eq!(is_deduplicated(NamespaceMode::Fsdax, 2 * MIB, &host()), Some(false));
    assert_eq!(is_deduplicated(NamespaceMode::Devdax, 4096, &host()), Some(false));
    assert_eq!(is_deduplicated(NamespaceMode::Devdax, 2 * MIB, &host()), Some(true));
    let pages_of_64k = KernelParameters { page_size: 64 * KIB, ..host() };
    assert_eq!(is_deduplicated(NamespaceMode::Devdax, 2 * MIB, &pages_of_64k), Some(false));
    let wide = KernelParameters { struct_page: Some(80), ..host() };
    assert_eq!(is_deduplicated(NamespaceMode::Devdax, 2 * MIB, &wide), Some(false));
    let older = KernelParameters { deduplicates: Some(false), ..host() };
    assert_eq!(dram_bytes_with(&devdax(2 * MIB), &older, X86_64), Some(16 * MIB));
}

#[test]
fn map_mem_is_offered_with_its_cost() {
    if cfg!(target_arch = "x86_64") {
        assert_eq!(cost_of_map_mem(&fsdax(Map::Dev), &host()), "16 MiB of DRAM for the memmap");
        assert_eq!(cost_of_map_mem(&devdax(2 * MIB), &host()), "4 MiB of DRAM for the memmap");
        let loses = KernelParameters { memmap_return: MemmapVerdict::NotReturned, ..host() };
        assert!(cost_of_map_mem(&fsdax(Map::Dev), &loses).contains("(this kernel loses that DRAM"));
        assert!(!cost_of_map_mem(&devdax(2 * MIB), &loses).contains("loses"), "deduplicated");
        let may_lose = KernelParameters { memmap_return: MemmapVerdict::Suspected, ..host() };
        assert!(cost_of_map_mem(&fsdax(Map::Dev), &may_lose).contains("suspected to lose"));
    }
    let unsure = KernelParameters { deduplicates: None, ..host() };
    assert_eq!(cost_of_map_mem(&devdax(2 * MIB), &unsure), "at most about 16 MiB of DRAM for the memmap");
    let blind = KernelParameters { struct_page: None, ..host() };
    assert!(cost_of_map_mem(&fsdax(Map::Dev), &blind).starts_with("an unknown amount"));
}

/// The pages of memmap that the kernel takes from DRAM, one subsection after the other, as `__add_pages()` goes.
fn by_subsections(mapped: &MappedNamespace) -> u64 {
    let start = mapped.start.unwrap_or(0);
    let end = start + mapped.size;
    let mut bytes = 0;
    let mut at = start;
    while at < end {
        let section = at - at % (128 * MIB);
        let is_whole = section >= start && section + 128 * MIB <= end;
        if mapped.map != Some(Map::Dev) || !is_whole {
            bytes += 2 * MIB / 4096 * 64;
        }
        at += 2 * MIB;
    }
    bytes
}

proptest! {
    #[test]
    fn is_the_sum_of_the_subsections(start in 0_u64..512, size in 1_u64..2048, dev in any::<bool>()) {
        let map = if dev { Map::Dev } else { Map::Mem };
        let mapped = MappedNamespace { start: Some(start * 2 * MIB), size: size * 2 * MIB, ..fsdax(map) };
        prop_assert_eq!(on_x86_64(&mapped), Some(by_subsections(&mapped)));
    }

    #[test]
    fn nothing_panics_and_nothing_is_more_than_all_struct_pages(
        start in any::<Option<u64>>(), size: u64, align: u64, page in 0_u32..64, struct_page in any::<Option<u64>>(),
        deduplicates in any::<Option<bool>>(), compat: u64, kind in 0_usize..3, devdax: bool,
    ) {
        let map = [None, Some(Map::Mem), Some(Map::Dev)][kind];
        let mode = if devdax { NamespaceMode::Devdax } else { NamespaceMode::Fsdax };
        let host = KernelParameters { page_size: 1 << page, compat, struct_page, deduplicates, ..host() };
        let mapped = MappedNamespace { mode, map, start, size, align };
        for altmap in [Altmap::WholeSections, Altmap::AllSections] {
            let bytes = dram_bytes_with(&mapped, &host, SectionRules { altmap, ..X86_64 });
            if let (Some(bytes), Some(all)) = (bytes, struct_pages(size, &host)) {
                prop_assert!(bytes <= all);
            }
        }
        prop_assert!(!cost_of_map_mem(&mapped, &host).is_empty());
    }
}
