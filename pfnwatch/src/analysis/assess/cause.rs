//! Why a reservation is what it is.

use pfnwatch_common::reservation::{REFERENCE_STRUCT_PAGE, REGRESSED_STRUCT_PAGE};
use pfnwatch_common::{Geometry, InfoBlock, Map};

use super::measure::{MAX_SECTION, Measured};
use super::reserved_with;
use crate::model::facts::{Facts, KernelParameters, NamespaceMode};
use crate::model::units::Bytes;
use crate::model::verdict::{Cause, Evidence, Numbers};

pub(super) fn of(facts: &Facts, host: &KernelParameters, measured: &Measured, numbers: &Numbers) -> (Cause, String) {
    let cause = match &facts.block {
        Some(block) => of_block(block, facts, measured),
        None => of_bytes(facts, host, measured),
    };
    (cause, explain(cause, facts, host, measured, numbers))
}

/// The block shows its own history: later changes are recognized by how it was made, and a changed block is never
/// blamed on the kernel that made it.
fn of_block(block: &InfoBlock, facts: &Facts, measured: &Measured) -> Cause {
    if block.is_hand_made() {
        return Cause::HandMade;
    }
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

pub(super) const fn nothing_reserved(mode: NamespaceMode) -> &'static str {
    match mode {
        NamespaceMode::Sector => "sector mode has no memmap",
        NamespaceMode::Raw => "raw mode has no memmap",
        NamespaceMode::Whole => "mapped whole, its memmap is in DRAM",
        NamespaceMode::Fsdax | NamespaceMode::Devdax => "nothing is reserved",
    }
}

pub(super) fn explain(
    cause: Cause,
    facts: &Facts,
    host: &KernelParameters,
    measured: &Measured,
    numbers: &Numbers,
) -> String {
    let excess = Bytes(numbers.excess.unwrap_or(0));
    match cause {
        Cause::RegressedKernel => {
            format!(
                "made by a kernel that reserves 128 bytes for each page: {excess} too much{}",
                uncertainty(measured)
            )
        }
        Cause::HandMade => {
            let how = match &facts.block {
                Some(block) if block.has_npfns() => {
                    format!("made by hand with a start_pad of {}", Bytes(block.start_pad.into()))
                }
                _ => "written by a tool, npfns not set".to_owned(),
            };
            format!("{how}: {}", surplus(measured))
        }
        Cause::WideStructPage => format!("made by a kernel with a wider struct page: {excess} too much"),
        Cause::Resized => match &measured.made {
            Some(made) => format!("resized after its block was made for {}: {}", Bytes(made.size), surplus(measured)),
            None => format!(
                "resized after its block was made, {} at the end are not used: {}{}",
                Bytes(measured.cut_at_end()),
                surplus(measured),
                uncertainty(measured)
            ),
        },
        Cause::Moved => format!("its base address moved after its block was made: {}", surplus(measured)),
        Cause::OlderKernel if measured.cut_at_end() > 0 => format!(
            "{} cut off at the end by an older kernel, a rebuild returns it: {} at the start{}",
            Bytes(measured.cut_at_end()),
            surplus(measured),
            uncertainty(measured)
        ),
        Cause::OlderKernel => match &facts.block {
            Some(block) => format!(
                "made by an older kernel (block version {}.{}): {}",
                block.version_major,
                block.version_minor,
                surplus(measured)
            ),
            None => format!("as an older kernel would have made it: {}{}", surplus(measured), uncertainty(measured)),
        },
        Cause::Unexplained if measured.excess() <= measured.effective_align() => {
            format!(
                "{excess} too much, one align: a regressed kernel or one before 5.5; the info block would show which"
            )
        }
        Cause::Unexplained => format!(
            "{excess} too much, and neither 64 nor 128 bytes for each page of {} explain it{}",
            Bytes(measured.geometry.page_size.min(host.page_size)),
            uncertainty(measured)
        ),
        // Causes of hints come with the hint's own sentence.
        Cause::None
        | Cause::NoDeduplication
        | Cause::SystemRam
        | Cause::Rounding
        | Cause::SmallerPages
        | Cause::SmallerStructPage => "as it should be".to_owned(),
    }
}

fn surplus(measured: &Measured) -> String {
    match measured.excess() {
        0 => "nothing too much".to_owned(),
        excess => format!("{} too much", Bytes(excess)),
    }
}

/// Without the block the bytes fit, but a resized namespace could look the same.
const fn uncertainty(measured: &Measured) -> &'static str {
    match measured.evidence {
        Evidence::Observed | Evidence::InfoBlock => "",
        Evidence::Sysfs | Evidence::Inferred => " (by its bytes; the info block would prove it)",
    }
}
