//! The sentences of an assessment.

use super::measure::Measured;
use crate::model::units::Bytes;
use crate::model::{
    facts::{Facts, KernelParameters, NamespaceMode},
    verdict::{Cause, Evidence, Numbers},
};

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
            format!("{excess} too much, one align: a regressed kernel or one before 5.5; the info block would tell")
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
