//! The answer as programs read it.

use pfnwatch_common::Geometry;
use serde::Serialize;

use super::alternative::{Alternative, PredictedOutcome};
use super::report::Prediction;
use crate::model::facts::map_name;

/// What a namespace would cost.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PredictDocument"))]
pub(in crate::cli::command) struct PredictionDocument<'a> {
    /// What was asked for.
    request: Request,
    /// The kernel that it is predicted for.
    kernel: PredictionKernel<'a>,
    /// What comes of it on this kernel.
    this_kernel: AlternativeRow<'a>,
    /// What would come of it on a kernel without the regression.
    good_kernel: AlternativeRow<'a>,
    /// What would come of it on this kernel with the other map.
    other_map: AlternativeRow<'a>,
    /// What this kernel reserves more than a good one, in bytes; null where one of the two is not known.
    excess_bytes: Option<u64>,
    /// Whether that is more than the limits.
    oversize: bool,
    /// What the numbers rest on, where that is not certain.
    notes: &'a [String],
}

/// The namespace that was asked about.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PredictRequest"))]
struct Request {
    /// Its size in bytes.
    size_bytes: u64,
    /// The alignment of its usable part, in bytes.
    align_bytes: u64,
    /// Physical address of its first byte; null where that is not known.
    start_address: Option<u64>,
    /// `fsdax` or `devdax`.
    mode: &'static str,
    /// Where the memmap would live: `dev` or `mem`.
    map: &'static str,
}

/// The kernel that it is predicted for.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PredictKernel"))]
struct PredictionKernel<'a> {
    /// Its release.
    release: &'a str,
    /// Its page size in bytes.
    page_size_bytes: u64,
    /// Its `sizeof(struct page)` in bytes.
    struct_page_size_bytes: Option<u64>,
    /// What it reserves for each page with map=dev, in bytes.
    max_struct_page_size_bytes: Option<u64>,
    /// What says so, in words.
    evidence: &'a str,
}

/// What comes of one choice.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PredictOutcome"))]
struct AlternativeRow<'a> {
    /// Where the memmap lives: `dev` or `mem`.
    map: &'static str,
    /// What is reserved for each page, in bytes; of no account with map=mem.
    max_struct_page_size_bytes: Option<u64>,
    /// `reserved`, `refused` or `unknown`.
    outcome: &'static str,
    /// Why it is refused, or not known.
    reason: Option<&'a str>,
    /// From the start of the namespace to its first usable byte, in bytes.
    reservation_bytes: Option<u64>,
    /// What can be stored, in bytes.
    usable_bytes: Option<u64>,
    /// What is cut off at the end, in bytes.
    end_trunc_bytes: Option<u64>,
    /// DRAM that the struct pages take, in bytes; null with map=dev, or where it is not known.
    dram_bytes: Option<u64>,
    /// Whether that is what remains after tail pages were deduplicated.
    dram_deduplicated: bool,
}

impl<'a> From<&'a Prediction> for PredictionDocument<'a> {
    fn from(prediction: &'a Prediction) -> Self {
        let Geometry { size, align, start, map, page_size, .. } = prediction.geometry;
        let [this, good, other] = &prediction.rows;
        Self {
            request: Request {
                size_bytes: size,
                align_bytes: align,
                start_address: prediction.start_known.then_some(start),
                mode: prediction.mode.as_str(),
                map: map_name(map),
            },
            kernel: PredictionKernel {
                release: &prediction.kernel.release,
                page_size_bytes: page_size,
                struct_page_size_bytes: prediction.kernel.struct_page_size,
                max_struct_page_size_bytes: prediction.page_cost.bytes,
                evidence: &prediction.page_cost.evidence,
            },
            this_kernel: this.into(),
            good_kernel: good.into(),
            other_map: other.into(),
            excess_bytes: prediction.excess(),
            oversize: prediction.is_oversize(),
            notes: &prediction.notes,
        }
    }
}

impl<'a> From<&'a Alternative> for AlternativeRow<'a> {
    fn from(row: &'a Alternative) -> Self {
        let (outcome, reason) = match &row.outcome {
            PredictedOutcome::Reserved(_) => ("reserved", None),
            PredictedOutcome::Refused(why) => ("refused", Some(&**why)),
            PredictedOutcome::Unknown(why) => ("unknown", Some(&**why)),
        };
        let reserved = row.reserved();
        Self {
            map: map_name(row.map),
            max_struct_page_size_bytes: row.struct_page,
            outcome,
            reason,
            reservation_bytes: reserved.map(|reserved| reserved.dataoff),
            usable_bytes: reserved.map(|reserved| reserved.usable),
            end_trunc_bytes: reserved.map(|reserved| reserved.end_trunc),
            dram_bytes: row.dram,
            dram_deduplicated: row.deduplicated,
        }
    }
}
