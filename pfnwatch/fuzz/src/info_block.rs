//! Info blocks: start and size of the namespace in 16 bytes, then what lies on the media.

use pfnwatch::analysis::validation::{NamespacePlace, refusals};
use pfnwatch::model::aligns::Aligns;
use pfnwatch::model::facts::KernelParameters;
use pfnwatch_common::{InfoBlock, KernelQuirks, reservation};

const PAGE_SIZE: u64 = 4096;
const COMPAT: u64 = 2 << 20;

const KERNEL: KernelParameters = KernelParameters {
    struct_page: Some(64),
    allows_empty: Some(false),
    aligns: Some(Aligns::X86_64),
    ..KernelParameters::of_page_size(PAGE_SIZE)
};

/// A block that parses is written back as it was read; one that makes sense lies within its namespace.
pub fn check(bytes: &[u8]) {
    let Some((start, rest)) = bytes.split_first_chunk() else { return };
    let Some((size, block)) = rest.split_first_chunk() else { return };
    let (start, size) = (u64::from_le_bytes(*start), u64::from_le_bytes(*size));
    let whole = InfoBlock::from_block(block);
    let Ok(head) = InfoBlock::from_head(block) else {
        assert!(whole.is_err(), "a block without a head: {whole:?}");
        return;
    };
    assert!(whole.is_err() || whole == Ok(head), "{whole:?} is not {head:?}");
    assert_eq!(InfoBlock::from_block(&head.encode()), Ok(head));
    if head.sanity(start, size).is_ok() {
        let usable = head.npfns.saturating_mul(head.page_size.map_or(1, u64::from));
        let taken = head.reservation().map(|reservation| reservation.saturating_add(usable));
        let whole = taken.map(|taken| taken.saturating_add(head.end_trunc.into()));
        assert!(whole.is_some_and(|whole| whole <= size), "{head:?} does not fit {size} bytes");
    }
    let place = NamespacePlace { start: Some(start), size: Some(size) };
    if refusals(&head, place, &KERNEL).is_empty() {
        let taken =
            head.dataoff.checked_add(head.start_pad.into()).and_then(|taken| taken.checked_add(head.end_trunc.into()));
        assert!(taken.is_some_and(|taken| taken < size), "a kernel takes {head:?} on {size} bytes");
    }
    let Some(geometry) = head.geometry_when_made(PAGE_SIZE, COMPAT) else { return };
    for struct_page in [64, 128, head.page_struct_size.into()] {
        let Ok(made) = reservation(&geometry, struct_page, KernelQuirks::default()) else { continue };
        let whole = made.dataoff + made.usable + made.end_trunc;
        assert!(made.dataoff >= 8192 && whole <= geometry.size, "{made:?} of {geometry:?}");
    }
}
