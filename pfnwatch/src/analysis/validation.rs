//! Whether a kernel takes an info block: `nd_pfn_validate()` and `__nvdimm_setup_pfn()` in drivers/nvdimm/pfn_devs.c (read in
//! 6.1.192, 6.12.107 and 7.3.4), test by test. Pure.

use pfnwatch_common::reservation::HEAD;
use pfnwatch_common::superblock::SuperblockKind;
use pfnwatch_common::{InfoBlock, Map};

use crate::model::facts::{EnableRefusal, KernelParameters};

/// Where the block's namespace lies, as far as that is known; in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamespacePlace {
    pub start: Option<u64>,
    pub size: Option<u64>,
}

/// All reasons for which the kernel refuses the block, in the order of its tests: it logs the first. What is not known of the
/// namespace or of the kernel refuses nothing.
#[must_use]
pub fn refusals(block: &InfoBlock, place: NamespacePlace, kernel: &KernelParameters) -> Vec<EnableRefusal> {
    let Some(map) = block.map() else { return vec![EnableRefusal::Mode(block.mode)] };
    let InfoBlock { dataoff, align, .. } = *block;
    let (start_pad, end_trunc) = (u64::from(block.start_pad), u64::from(block.end_trunc));
    let is_on_media = map == Map::Dev;
    let is_aligned = |address: u64, align: u64| !align.is_power_of_two() || address & (align - 1) == 0;
    let with_size = |refused: &dyn Fn(u64) -> Option<EnableRefusal>| place.size.and_then(refused);
    let end = place.start.zip(place.size).and_then(|(start, size)| start.checked_add(size)?.checked_sub(end_trunc));
    let padded = place.start.and_then(|start| start.checked_add(start_pad));
    let first = padded.and_then(|start| start.checked_add(dataoff));
    let page_size = block.page_size.map_or(kernel.page_size, u64::from);
    let struct_page = u64::from(block.page_struct_size);
    let compat = kernel.compat;
    [
        (is_on_media && page_size > kernel.page_size)
            .then_some(EnableRefusal::PageSize { block: page_size, kernel: kernel.page_size }),
        kernel
            .struct_page
            .filter(|needed| is_on_media && struct_page < *needed)
            .map(|kernel| EnableRefusal::StructPage { block: struct_page, kernel }),
        kernel
            .aligns
            .filter(|offered| block.kind == SuperblockKind::Dax && !offered.contains(align))
            .map(|offered| EnableRefusal::Align { align, offered }),
        with_size(&|size| (align > size).then_some(EnableRefusal::AlignExceedsSize { align, size })),
        with_size(&|size| (dataoff >= size).then_some(EnableRefusal::Capacity { dataoff, size })),
        first.filter(|first| !is_aligned(*first, align)).map(|_| EnableRefusal::Moved { align }),
        (!is_aligned(dataoff, kernel.page_size))
            .then_some(EnableRefusal::BrokenPage { dataoff, page_size: kernel.page_size }),
        padded.filter(|start| !is_aligned(*start, compat)).map(|_| EnableRefusal::StartMisaligned { compat }),
        end.filter(|end| !is_aligned(*end, compat)).map(|_| EnableRefusal::EndMisaligned { compat }),
        with_size(&|size| {
            let room = size.saturating_sub(start_pad).saturating_sub(end_trunc);
            let refuses = kernel.allows_empty == Some(false) && dataoff < size && dataoff >= room;
            refuses.then_some(EnableRefusal::Empty)
        }),
        (dataoff < HEAD).then_some(EnableRefusal::InHead { dataoff }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::aligns::Aligns;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn kernel() -> KernelParameters {
        KernelParameters { aligns: Some(Aligns::X86_64), ..KernelParameters::SAMPLE }
    }

    const PLACE: NamespacePlace = NamespacePlace { start: Some(4 * GIB), size: Some(GIB) };

    fn first(block: &InfoBlock) -> Option<EnableRefusal> {
        refusals(block, PLACE, &kernel()).into_iter().next()
    }

    #[test]
    fn a_block_that_the_kernel_made_is_taken() {
        assert_eq!(first(&InfoBlock::sample(18 * MIB, 64)), None);
        assert_eq!(first(&InfoBlock::sample(34 * MIB, 128)), None, "a larger reservation is taken");
    }

    #[test]
    fn each_test_of_the_kernel_has_its_reason() {
        let sound = InfoBlock::sample(18 * MIB, 64);
        let dax = InfoBlock { kind: SuperblockKind::Dax, ..sound };
        for (block, message) in [
            (InfoBlock { mode: 3, ..sound }, "neither map=mem"),
            (InfoBlock { page_size: Some(65536), ..sound }, "init failed, page size mismatch"),
            (InfoBlock { page_struct_size: 32, ..sound }, "init failed, struct page size mismatch"),
            (InfoBlock { align: 16 * MIB, ..dax }, "init failed, alignment mismatch"),
            (InfoBlock { align: 2 * GIB, ..sound }, "exceeds capacity"),
            (InfoBlock { dataoff: 2 * GIB, ..sound }, "pfn array size exceeds capacity"),
            (InfoBlock { dataoff: 17 * MIB, ..sound }, "dax disabled"),
            (InfoBlock { dataoff: 18 * MIB + KIB, align: KIB, ..sound }, "not a multiple of a page"),
            (InfoBlock { start_pad: 4096, align: 4096, ..sound }, "resource start misaligned"),
            (InfoBlock { end_trunc: 4096, ..sound }, "resource end misaligned"),
            (InfoBlock { end_trunc: 1006 << 20, ..sound }, "bad offset with small namespace"),
            (InfoBlock { dataoff: 4096, align: 4096, ..sound }, "within the first 8 KiB"),
        ] {
            let text = first(&block).map(|refusal| refusal.to_string()).unwrap_or_default();
            assert!(text.contains(message), "{message}: {text}");
        }
    }

    /// A kernel refuses pages and struct pages for map=dev alone, aligns for devdax alone.
    #[test]
    fn what_the_kernel_does_not_test_refuses_nothing() {
        let mem = InfoBlock { mode: 1, page_size: Some(65536), page_struct_size: 0, ..InfoBlock::sample(2 * MIB, 64) };
        assert_eq!(first(&mem), None);
        assert_eq!(first(&InfoBlock { align: 16 * MIB, ..InfoBlock::sample(32 * MIB, 64) }), None, "fsdax");
        let empty = InfoBlock { end_trunc: 1006 << 20, ..InfoBlock::sample(18 * MIB, 64) };
        let older = KernelParameters { allows_empty: Some(true), ..kernel() };
        assert_eq!(refusals(&empty, PLACE, &older), [], "before 6.6");
    }

    /// `nd_pfn_validate()` takes a block below version 1.4 for one of its own page size and of 64 bytes for each page, whatever made it.
    #[test]
    fn a_block_below_version_1_4_is_taken_for_one_of_the_kernel_s_page_size() {
        let older = InfoBlock { version_minor: 3, page_size: None, ..InfoBlock::sample(18 * MIB, 64) };
        let large_pages = KernelParameters { page_size: 65536, ..kernel() };
        for kernel in [kernel(), large_pages] {
            assert_eq!(refusals(&older, PLACE, &kernel), [], "pages of {}", kernel.page_size);
        }
        let debugging = KernelParameters { struct_page: Some(80), ..kernel() };
        let refused = refusals(&older, PLACE, &debugging);
        assert!(matches!(refused[..], [EnableRefusal::StructPage { block: 64, kernel: 80 }]), "{refused:?}");
        // Version 1.4 records its page size.
        let newer = InfoBlock { version_minor: 4, page_size: Some(65536), ..older };
        assert_eq!(refusals(&newer, PLACE, &large_pages), []);
        assert!(matches!(first(&newer), Some(EnableRefusal::PageSize { .. })));
    }

    #[test]
    fn what_is_unknown_refuses_nothing() {
        let odd = InfoBlock { align: 16 * MIB, kind: SuperblockKind::Dax, ..InfoBlock::sample(2 * GIB, 32) };
        let unknown = KernelParameters { struct_page: None, aligns: None, allows_empty: None, ..kernel() };
        assert_eq!(refusals(&odd, NamespacePlace::default(), &unknown), []);
        assert_eq!(refusals(&odd, PLACE, &kernel()).len(), 3, "struct page, align, capacity");
    }
}
