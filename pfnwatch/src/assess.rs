//! What a namespace's numbers mean: a verdict with its cause, the evidence and the bytes.
//!
//! Pure: [`Facts`] about one namespace, a [`Host`] and [`Thresholds`] in, an [`Assessment`] out. `scan` and `plan`
//! fill the facts from the inventory, the pipeline from an event; whatever is not known is `None` and ends in
//! [`Verdict::Unknown`] with its reason, never in a guessed number.

mod cause;
mod facts;
mod hint;
mod measure;
mod text;
mod totals;

#[cfg(test)]
mod tests;

use pfnwatch_common::{Geometry, Rejection, reservation};

pub use cause::Cause;
pub use facts::{EnableRefusal, Facts, KernelParameters, NamespaceMode, Obstacle, Thresholds, map_name};
pub use hint::{Hint, deduplicated_memmap, memmap_in_dram};
pub use totals::NamespaceTotals;

use measure::Measured;

/// Whether a namespace costs what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, strum::IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    /// The reservation is what it should be, or nothing is reserved at all.
    Ok,
    /// The excess passes both thresholds.
    Oversize,
    /// The kernel would not set it up.
    Refused,
    /// What is known does not suffice for a verdict.
    Unknown,
}

impl Verdict {
    /// As JSON and metrics have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Where the numbers came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, strum::IntoStaticStr)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Evidence {
    /// pfnwatch saw the block being made.
    Observed,
    /// The namespace's info block.
    InfoBlock,
    /// The addresses in sysfs, which only root can read: exact.
    Sysfs,
    /// The sizes in sysfs: reservation and end_trunc are known in sum, and told apart by the formula.
    Inferred,
}

impl Evidence {
    /// As JSON and metrics have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Bytes of one namespace; `None` is "not known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The whole namespace.
    pub size: Option<u64>,
    /// What users can store in.
    pub usable: Option<u64>,
    /// From the start of the namespace to its first usable byte.
    pub reservation: Option<u64>,
    /// Cut off at the end for alignment.
    pub end_trunc: Option<u64>,
    /// The reservation of the same geometry at the reference struct page size.
    pub ideal: Option<u64>,
    /// reservation - ideal, never negative.
    pub excess: Option<u64>,
    /// reservation - the formula at the running kernel's `sizeof(struct page)`, never negative: information only.
    pub unused: Option<u64>,
}

/// The answer for one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// Does it cost what it should?
    pub verdict: Verdict,
    /// Why the reservation is what it is.
    pub cause: Cause,
    /// One sentence for people: the cause with its numbers, or why there is no verdict.
    pub detail: String,
    /// Where the reservation came from; `None` where there is none.
    pub evidence: Option<Evidence>,
    /// The bytes.
    pub numbers: Numbers,
    /// What else could be gained, the most telling first.
    pub hints: Vec<Hint>,
}

/// Judges one namespace.
#[must_use]
pub fn assess(facts: &Facts, host: &KernelParameters, thresholds: &Thresholds) -> Assessment {
    if let Some(obstacle) = &facts.obstacle {
        return without_numbers(facts, Verdict::Unknown, obstacle.to_string());
    }
    if let Some(refusal) = &facts.refusal {
        return without_numbers(facts, Verdict::Refused, refusal.to_string());
    }
    if !facts.mode.reserves() {
        return nothing_reserved(facts);
    }
    match measure::measure(facts, host, thresholds.reference_struct_page) {
        Ok(measured) => judge(facts, host, thresholds, &measured),
        Err(obstacle) => without_numbers(facts, Verdict::Unknown, obstacle.to_string()),
    }
}

/// The verdict on a reservation that is known.
fn judge(facts: &Facts, host: &KernelParameters, thresholds: &Thresholds, measured: &Measured) -> Assessment {
    let numbers = measured.numbers(host);
    let (cause, mut detail) = cause::of(facts, host, measured, &numbers);
    let hints = hint::of(facts, host, thresholds, measured);
    let excess = numbers.excess.unwrap_or(0);
    let verdict = if let Some(refusal) = measured.refusal(facts, host) {
        detail = refusal.to_string();
        Verdict::Refused
    } else if thresholds.passed_by(excess, measured.effective_align(), measured.geometry.size) {
        Verdict::Oversize
    } else {
        Verdict::Ok
    };
    // Where the reservation itself is in order, the most telling hint is the cause.
    let cause = match (cause, hints.first()) {
        (Cause::None, Some(hint)) => {
            detail.clone_from(&hint.detail);
            hint.cause
        }
        (cause, _) => cause,
    };
    Assessment { verdict, cause, detail, evidence: Some(measured.evidence), numbers, hints }
}

/// A namespace without an info block: raw, sector, or mapped whole with its memmap in DRAM.
fn nothing_reserved(facts: &Facts) -> Assessment {
    let usable = if facts.mode == NamespaceMode::Sector { facts.usable } else { facts.size };
    let numbers = Numbers {
        size: facts.size,
        usable,
        reservation: Some(0),
        end_trunc: None,
        ideal: Some(0),
        excess: Some(0),
        unused: Some(0),
    };
    let detail = text::nothing_reserved(facts.mode).to_owned();
    Assessment { verdict: Verdict::Ok, cause: Cause::None, detail, evidence: None, numbers, hints: Vec::new() }
}

fn without_numbers(facts: &Facts, verdict: Verdict, detail: String) -> Assessment {
    let numbers = Numbers { size: facts.size, ..Numbers::default() };
    Assessment { verdict, cause: Cause::None, detail, evidence: None, numbers, hints: Vec::new() }
}

/// The reservation that `geometry` gets when a page of memmap is given `struct_page` bytes.
pub(crate) fn reserved_with(geometry: &Geometry, struct_page: u64, host: &KernelParameters) -> Result<u64, Rejection> {
    reservation(geometry, struct_page, host.quirks).map(|reservation| reservation.dataoff)
}
