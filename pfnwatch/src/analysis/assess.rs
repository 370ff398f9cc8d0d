//! What a namespace's numbers mean: a verdict with its cause, the evidence and the bytes.
//!
//! Pure: [`Facts`] about one namespace, [`KernelParameters`] and [`Thresholds`] in, an [`Assessment`] out. `scan` and `plan`
//! fill the facts from the inventory, the agent from an event; an unknown one is `None` and ends in
//! [`Verdict::Unknown`] with its reason, never in a guessed number.

mod cause;
mod hint;
mod measure;
mod without_block;

#[cfg(test)]
mod tests;

use crate::model::verdict::{Assessment, Numbers, Verdict};
use pfnwatch_common::{Geometry, KernelQuirks, Rejection, reservation};

use crate::analysis::memmap::{MappedNamespace, dram_bytes};
use crate::analysis::validation::{NamespacePlace, refusals};
use crate::model::facts::{EnableRefusal, Facts, KernelParameters, NamespaceMode, Obstacle};
use crate::model::thresholds::Thresholds;
use crate::model::verdict::Cause;

use self::measure::Measured;

#[must_use]
pub fn assess(facts: &Facts, host: &KernelParameters, thresholds: &Thresholds) -> Assessment {
    if let Some(refusal) = refusal_while_disabled(facts, host) {
        return without_numbers(facts, Verdict::Refused, refusal.to_string());
    }
    if let Some(obstacle) = &facts.obstacle {
        return without_numbers(facts, Verdict::Unknown, obstacle.to_string());
    }
    if let Some(refusal) = &facts.refusal {
        return without_numbers(facts, Verdict::Refused, refusal.to_string());
    }
    if !facts.mode.reserves() {
        return nothing_reserved(facts, host);
    }
    if without_block::is_mapped_whole(facts) {
        return without_block::assess(facts, host);
    }
    match measure::measure(facts, host, thresholds.reference_struct_page) {
        Ok(measured) => judge(facts, host, thresholds, &measured),
        Err(obstacle) => match refusal_of_block(facts, host) {
            Some(refusal) => without_numbers(facts, Verdict::Refused, refusal.to_string()),
            None => without_numbers(facts, Verdict::Unknown, obstacle.to_string()),
        },
    }
}

/// Why the kernel does not enable a namespace whose block cannot be seen: what it logged, then what is known of the block.
fn refusal_while_disabled(facts: &Facts, host: &KernelParameters) -> Option<EnableRefusal> {
    if !matches!(facts.obstacle, Some(Obstacle::Disabled { .. })) {
        return None;
    }
    if facts.refusal.is_some() {
        return facts.refusal.clone();
    }
    let (start, size) = (facts.start, facts.size);
    if facts.mode == NamespaceMode::Whole {
        // Without the start, the size alone may show it.
        let misaligned = start.unwrap_or(0) | start.unwrap_or(0).wrapping_add(size?);
        return (misaligned & (host.compat - 1) != 0).then_some(EnableRefusal::MapMisaligned { compat: host.compat });
    }
    let (block, seen) = facts.saved_block.as_ref()?;
    let reason = refusals(block, NamespacePlace { start, size }, host).into_iter().next()?;
    Some(EnableRefusal::OfSavedBlock { reason: Box::new(reason), seen: *seen })
}

/// Why the kernel would not enable a namespace that is not enabled, by the block on its media.
fn refusal_of_block(facts: &Facts, host: &KernelParameters) -> Option<EnableRefusal> {
    let block = facts.block.as_ref().filter(|_| !facts.enabled)?;
    refusals(block, NamespacePlace { start: facts.start, size: facts.size }, host).into_iter().next()
}

/// A kernel before 6.6 made it (seen on 6.1.176).
const NOTHING_USABLE: &str =
    "nothing is usable on it, kernels since 6.6 refuse it, and an earlier one can panic when it is disabled";

fn judge(facts: &Facts, host: &KernelParameters, thresholds: &Thresholds, measured: &Measured) -> Assessment {
    let numbers = measured.numbers(facts, host);
    let (cause, mut detail) = cause::of(facts, host, measured, &numbers);
    let hints = hint::of(facts, host, thresholds, measured);
    let excess = numbers.excess.unwrap_or(0);
    let verdict = if let Some(refusal) = refusal_of_block(facts, host) {
        detail = refusal.to_string();
        Verdict::Refused
    } else if thresholds.passed_by(excess, measured.effective_align(), measured.geometry.size) {
        Verdict::Oversize
    } else {
        Verdict::Ok
    };
    if measured.usable == 0 && verdict != Verdict::Refused {
        detail = format!("{NOTHING_USABLE}: {detail}");
    }
    // If the reservation itself is ok, the most important hint is the cause.
    let cause = match (cause, hints.first()) {
        (Cause::None, Some(hint)) => {
            if measured.usable > 0 && verdict != Verdict::Refused {
                detail.clone_from(&hint.detail);
            }
            hint.cause
        }
        (cause, _) => cause,
    };
    Assessment { verdict, cause, detail, evidence: Some(measured.evidence), numbers, hints }
}

/// A namespace without an info block: raw, sector, or mapped whole with its memmap in DRAM.
fn nothing_reserved(facts: &Facts, host: &KernelParameters) -> Assessment {
    let usable = if facts.mode == NamespaceMode::Sector { facts.usable } else { facts.size };
    let numbers = Numbers {
        size: facts.size,
        usable,
        reservation: Some(0),
        end_trunc: None,
        ideal: Some(0),
        excess: Some(0),
        unused: Some(0),
        dram: if facts.mode == NamespaceMode::Whole { mapped_whole(facts, host) } else { Some(0) },
    };
    let detail = cause::nothing_reserved(facts.mode).to_owned();
    Assessment { verdict: Verdict::Ok, cause: Cause::None, detail, evidence: None, numbers, hints: Vec::new() }
}

/// `pmem_attach_disk()` in drivers/nvdimm/pmem.c maps all of it, without an altmap.
fn mapped_whole(facts: &Facts, host: &KernelParameters) -> Option<u64> {
    let mapped =
        MappedNamespace { mode: facts.mode, map: None, start: facts.start, size: facts.size?, align: host.page_size };
    dram_bytes(&mapped, host)
}

fn without_numbers(facts: &Facts, verdict: Verdict, detail: String) -> Assessment {
    // The kernel maps nothing of what is disabled or refused.
    let unmapped = verdict == Verdict::Refused || matches!(facts.obstacle, Some(Obstacle::Disabled { .. }));
    let numbers = Numbers { size: facts.size, dram: unmapped.then_some(0), ..Numbers::default() };
    Assessment { verdict, cause: Cause::None, detail, evidence: None, numbers, hints: Vec::new() }
}

/// The reservation that `geometry` gets when a page of memmap is given `struct_page` bytes, even if it leaves nothing usable: for
/// what exists, and as the ideal.
pub(crate) fn reserved_with(geometry: &Geometry, struct_page: u64) -> Result<u64, Rejection> {
    reservation(geometry, struct_page, KernelQuirks { allows_empty: true }).map(|reservation| reservation.dataoff)
}
