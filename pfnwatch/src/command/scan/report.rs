//! The report as programs read it: JSON, and the same rows for CSV and metrics.

use std::time::SystemTime;

use nix::unistd::gethostname;
use serde::Serialize;

use crate::{
    assess::{Cause, Evidence, Hint, Totals, Verdict, map_name},
    event::{SCHEMA, Time},
    inventory::Region,
    survey::{Judged, Survey},
};

/// The whole document.
#[derive(Debug, Serialize)]
pub struct Report {
    schema: u32,
    time: Time,
    /// This host's name; null where it cannot be told.
    host: Option<String>,
    kernel: Kernel,
    verdict: Verdict,
    /// Why the info blocks of enabled namespaces were not read; null where they were, or were not asked for.
    info_blocks_problem: Option<String>,
    totals: Totals,
    regions: Vec<RegionRow>,
    namespaces: Vec<NamespaceReport>,
}

#[derive(Debug, Serialize)]
struct Kernel {
    release: String,
    page_size_bytes: u64,
    struct_page_size_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct RegionRow {
    region: String,
    size_bytes: Option<u64>,
    available_bytes: Option<u64>,
    align_bytes: Option<u64>,
    start_address: Option<u64>,
    interleave_ways: u64,
    set_cookie: Option<String>,
    read_only: Option<bool>,
    enabled: bool,
    locked: bool,
}

#[derive(Debug, Serialize)]
struct NamespaceReport {
    #[serde(flatten)]
    row: Row,
    hints: Vec<HintRow>,
}

#[derive(Debug, Serialize)]
struct HintRow {
    cause: Cause,
    class: Option<char>,
    bytes: u64,
    detail: String,
}

/// One namespace, flat. What is not known is null, or empty in CSV.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) namespace: String,
    pub(super) region: String,
    pub(super) mode: &'static str,
    pub(super) map: Option<&'static str>,
    pub(super) namespace_uuid: Option<String>,
    pub(super) block_uuid: Option<String>,
    pub(super) claimer: Option<String>,
    pub(super) start_address: Option<u64>,
    pub(super) align_bytes: Option<u64>,
    pub(super) size_bytes: Option<u64>,
    pub(super) usable_bytes: Option<u64>,
    pub(super) reservation_bytes: Option<u64>,
    pub(super) end_trunc_bytes: Option<u64>,
    pub(super) ideal_bytes: Option<u64>,
    pub(super) excess_bytes: Option<u64>,
    pub(super) excess_percent: Option<f64>,
    pub(super) unused_bytes: Option<u64>,
    pub(super) unused_percent: Option<f64>,
    pub(super) verdict: Verdict,
    pub(super) cause: Cause,
    pub(super) class: Option<char>,
    pub(super) evidence: Option<Evidence>,
    pub(super) exact: Option<bool>,
    pub(super) detail: String,
}

impl From<&Judged> for Row {
    fn from(judged: &Judged) -> Self {
        let Judged { namespace, facts, assessment } = judged;
        let numbers = assessment.numbers;
        let claimer = namespace.claimer.as_ref().ok();
        let percent = |bytes: Option<u64>| percent(bytes?, numbers.size?);
        Self {
            namespace: namespace.name.clone(),
            region: namespace.region.clone(),
            mode: judged.mode(),
            map: judged.map().map(map_name),
            namespace_uuid: namespace.uuid.as_ref().ok().filter(|uuid| !uuid.is_nil()).map(ToString::to_string),
            block_uuid: claimer.and_then(|claimer| claimer.uuid.as_ref().ok()).map(ToString::to_string),
            claimer: claimer.map(|claimer| claimer.name.clone()),
            start_address: facts.start,
            align_bytes: facts.align.or_else(|| facts.block.as_ref().map(|block| block.align)),
            size_bytes: numbers.size,
            usable_bytes: numbers.usable,
            reservation_bytes: numbers.reservation,
            end_trunc_bytes: numbers.end_trunc,
            ideal_bytes: numbers.ideal,
            excess_bytes: numbers.excess,
            excess_percent: percent(numbers.excess),
            unused_bytes: numbers.unused,
            unused_percent: percent(numbers.unused),
            verdict: assessment.verdict,
            cause: assessment.cause,
            class: assessment.cause.class(),
            evidence: assessment.evidence,
            exact: assessment.evidence.map(|evidence| evidence != Evidence::Inferred),
            detail: assessment.detail.clone(),
        }
    }
}

impl From<&Survey> for Report {
    fn from(survey: &Survey) -> Self {
        Self {
            schema: SCHEMA,
            time: now(),
            host: gethostname().ok().and_then(|name| name.into_string().ok()),
            kernel: Kernel {
                release: survey.kernel.release.clone(),
                page_size_bytes: survey.kernel.page_size,
                struct_page_size_bytes: survey.kernel.struct_page_size,
            },
            verdict: survey.verdict,
            info_blocks_problem: survey.blocks_problem.clone(),
            totals: survey.totals,
            regions: survey.regions.iter().map(RegionRow::from).collect(),
            namespaces: survey.namespaces.iter().map(NamespaceReport::from).collect(),
        }
    }
}

impl From<&Region> for RegionRow {
    fn from(region: &Region) -> Self {
        Self {
            region: region.name.clone(),
            size_bytes: region.size.clone().ok(),
            available_bytes: region.available.clone().ok(),
            align_bytes: region.align.clone().ok(),
            start_address: region.resource.clone().ok(),
            interleave_ways: region.ways(),
            set_cookie: region.set_cookie.clone().ok().map(|cookie| format!("{cookie:#x}")),
            read_only: region.read_only.clone().ok(),
            enabled: region.enabled,
            locked: region.locked,
        }
    }
}

impl From<&Judged> for NamespaceReport {
    fn from(judged: &Judged) -> Self {
        Self { row: Row::from(judged), hints: judged.assessment.hints.iter().map(HintRow::from).collect() }
    }
}

impl From<&Hint> for HintRow {
    fn from(hint: &Hint) -> Self {
        Self { cause: hint.cause, class: hint.cause.class(), bytes: hint.bytes, detail: hint.detail.clone() }
    }
}

pub(super) fn now() -> Time {
    Time(SystemTime::now())
}

/// Per cent with two digits after the point, cut.
pub(super) fn percent(bytes: u64, whole: u64) -> Option<f64> {
    let hundredths = (u128::from(bytes) * 10_000).checked_div(u128::from(whole))?;
    u32::try_from(hundredths).ok().map(|hundredths| f64::from(hundredths) / 100.0)
}
