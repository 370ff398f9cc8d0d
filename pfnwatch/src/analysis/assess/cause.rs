//! Why a reservation is what it is.

use crate::model::verdict::Cause;
use pfnwatch_common::{
    Geometry, InfoBlock, Map,
    reservation::{REFERENCE_STRUCT_PAGE, REGRESSED_STRUCT_PAGE},
};

use super::{
    measure::{MAX_SECTION, Measured},
    reserved_with, text,
};
use crate::model::{
    facts::{Facts, KernelParameters},
    verdict::Numbers,
};

pub(super) fn of(facts: &Facts, host: &KernelParameters, measured: &Measured, numbers: &Numbers) -> (Cause, String) {
    let cause = match &facts.block {
        Some(block) => of_block(block, facts, measured),
        None => of_bytes(facts, host, measured),
    };
    (cause, text::explain(cause, facts, host, measured, numbers))
}

/// The block shows its own history: later changes are recognized by how it was made, and a changed block is never
/// blamed on the kernel that made it.
fn of_block(block: &InfoBlock, facts: &Facts, measured: &Measured) -> Cause {
    if let Some(made) = &measured.made {
        if was_resized(made, measured.geometry.size) {
            return Cause::Resized;
        }
        // The formula takes the start modulo the align alone, and that is what the block still shows.
        let align = measured.effective_align();
        if facts.start.is_some_and(|start| align.is_power_of_two() && (start ^ made.start) & (align - 1) != 0) {
            return Cause::Moved;
        }
    }
    if block.version_minor < 4 || block.start_pad != 0 || measured.cut_at_end() > 0 {
        return Cause::OlderKernel;
    }
    if measured.excess() == 0 {
        return Cause::None;
    }
    let recorded = u64::from(block.page_struct_size);
    match measured.geometry.map {
        Map::Dev if recorded == REGRESSED_STRUCT_PAGE => Cause::RegressedKernel,
        Map::Dev if is_explained_by(recorded, measured) => Cause::WideStructPage,
        _ => Cause::Unexplained,
    }
}

/// Without the block there are only the byte counts: a struct page size explains them if the formula gives them
/// exactly.
fn of_bytes(facts: &Facts, host: &KernelParameters, measured: &Measured) -> Cause {
    if moved_by_addresses(facts, measured) {
        return Cause::Moved;
    }
    match measured.cut_at_end() {
        0 => {}
        // What no kernel cuts off came to the namespace later.
        cut if cut >= MAX_SECTION => return Cause::Resized,
        _ => return Cause::OlderKernel,
    }
    if measured.excess() == 0 {
        return Cause::None;
    }
    let wide = [host.max_struct_page, host.struct_page].into_iter().flatten();
    match measured.geometry.map {
        Map::Dev if is_explained_by(REGRESSED_STRUCT_PAGE, measured) => {
            // Older kernels rounded the memmap up to whole sections and kept 128 KiB for labels: one align more by
            // either formula is nobody's for certain, unless the running kernel is known for it.
            let one_align = measured.excess() <= measured.effective_align();
            if host.max_struct_page == Some(REGRESSED_STRUCT_PAGE) {
                Cause::RegressedKernel
            } else if one_align {
                Cause::Unexplained
            } else if is_padded(facts, measured) {
                Cause::OlderKernel
            } else {
                Cause::RegressedKernel
            }
        }
        Map::Dev if wide.into_iter().any(|bytes| is_explained_by(bytes, measured)) => Cause::WideStructPage,
        _ if measured.excess() <= measured.effective_align() => Cause::OlderKernel,
        _ => Cause::Unexplained,
    }
}

/// Whether the first usable address is no multiple of the align, which no kernel chooses.
fn moved_by_addresses(facts: &Facts, measured: &Measured) -> bool {
    let align = measured.effective_align();
    facts.start.is_some() && facts.first_usable.is_some_and(|first| align.is_power_of_two() && first & (align - 1) != 0)
}

/// Whether a kernel before 5.3 could have padded the start to the next section, with as much as an align more behind it.
fn is_padded(facts: &Facts, measured: &Measured) -> bool {
    let behind = facts.start.and_then(|start| {
        let first = start.checked_next_multiple_of(MAX_SECTION).filter(|first| *first > start)?;
        let size = measured.geometry.size.checked_sub(first - start)?;
        let geometry = Geometry { start: first, size, ..measured.geometry };
        reserved_with(&geometry, REFERENCE_STRUCT_PAGE).ok()?.checked_add(first - start)
    });
    let more = behind.and_then(|padded| measured.reservation.checked_sub(padded));
    more.is_some_and(|more| more <= measured.effective_align())
}

fn is_explained_by(bytes: u64, measured: &Measured) -> bool {
    reserved_with(&measured.geometry, bytes) == Ok(measured.reservation)
}

/// Whether the block was made for another size; less than a page is what a size of broken pages leaves over.
const fn was_resized(made: &Geometry, size: u64) -> bool {
    made.size > size || size - made.size >= made.page_size
}
