//! The report as programs read it: JSON, and the same rows for CSV.

use std::time::SystemTime;

use nix::unistd::gethostname;
use serde::Serialize;

use super::device_report::DeviceRow;
use crate::model::device::DeviceTotals;
use crate::model::event::{SCHEMA, Time};
use crate::model::facts::map_name;
use crate::model::inventory::{DeviceUser, Region};
use crate::model::kernel::MemmapCounter;
use crate::model::scan_result::{AssessedNamespace, ScanResult};
use crate::model::verdict::{Cause, Evidence, Hint, NamespaceTotals, Verdict};

/// The whole document.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ScanReport {
    /// The version of this document.
    schema: u32,
    /// When this host was looked at.
    time: Time,
    /// This host's name; null if it is unknown.
    host: Option<String>,
    /// The kernel that runs.
    kernel: ScanKernel,
    /// The verdict on the host: the worst of its namespaces, or of their sum.
    verdict: Verdict,
    /// Why the info blocks of enabled namespaces were not read; null if they were, or were not requested.
    info_blocks_problem: Option<String>,
    /// Sums over the devices that no namespace owns.
    device_totals: DeviceTotals,
    /// Sums over the namespaces.
    totals: NamespaceTotals,
    /// The kernel's own count of memmaps, to compare with `memmap_dram_bytes`; null before 6.11.
    memmap_counter: Option<MemmapCounter>,
    /// The regions.
    regions: Vec<RegionRow>,
    /// The namespaces.
    namespaces: Vec<NamespaceReport>,
    /// The devices of the dax bus that no namespace owns.
    devices: Vec<DeviceRow>,
}

/// The kernel that runs.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ScanKernel"))]
struct ScanKernel {
    /// Its release.
    release: String,
    /// Its page size in bytes.
    page_size_bytes: u64,
    /// Its `sizeof(struct page)` in bytes; null without BTF.
    struct_page_size_bytes: Option<u64>,
}

/// A region of persistent memory.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Region"))]
struct RegionRow {
    /// `region0`
    region: String,
    /// Its size in bytes.
    size_bytes: Option<u64>,
    /// Free bytes in it.
    available_bytes: Option<u64>,
    /// What namespaces in it are aligned to, in bytes.
    align_bytes: Option<u64>,
    /// Physical address of its first byte; null without root.
    start_address: Option<u64>,
    /// How many DIMMs it is interleaved over.
    interleave_ways: u64,
    /// Its `set_cookie`, which identifies it over boots, as `0x…`; null without labels.
    set_cookie: Option<String>,
    /// Whether it is read-only.
    read_only: Option<bool>,
    /// Whether a driver has it.
    enabled: bool,
    /// Whether one of its DIMMs is locked.
    locked: bool,
}

/// A namespace with its verdict.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ScanNamespace"))]
struct NamespaceReport {
    #[serde(flatten)]
    row: NamespaceRow,
    /// Possible changes of this namespace.
    hints: Vec<HintRow>,
    /// Who uses it, in the order in which to stop them; null if it is not oversize, or not of this host.
    users: Option<Vec<DeviceUser>>,
}

/// A possible change of a namespace.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Hint"))]
struct HintRow {
    /// The possible change.
    cause: Cause,
    /// The letter of its waste class.
    class: Option<char>,
    /// The bytes concerned.
    bytes: u64,
    /// In words, with the remedy.
    detail: String,
}

/// One namespace, flat. What is not known is null, or empty in CSV.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct NamespaceRow {
    /// `namespace0.0`
    pub(super) namespace: String,
    /// Its region.
    pub(super) region: String,
    /// `fsdax`, `devdax`, `sector` or `raw`, as in ndctl.
    pub(super) mode: &'static str,
    /// Where the memmap is: `dev` or `mem`; null if there is none.
    pub(super) map: Option<&'static str>,
    /// The namespace uuid, from the label; null on legacy and e820 regions.
    pub(super) namespace_uuid: Option<String>,
    /// The uuid of its pfn, dax or btt device, which its info block has.
    pub(super) block_uuid: Option<String>,
    /// The pfn, dax or btt device that holds it.
    pub(super) holder: Option<String>,
    /// Physical address of its first byte; null without root.
    pub(super) start_address: Option<u64>,
    /// The alignment of its usable part, in bytes.
    pub(super) align_bytes: Option<u64>,
    /// Its size in bytes.
    pub(super) size_bytes: Option<u64>,
    /// Usable bytes.
    pub(super) usable_bytes: Option<u64>,
    /// From its start to its first usable byte.
    pub(super) reservation_bytes: Option<u64>,
    /// Bytes cut off at its end.
    pub(super) end_trunc_bytes: Option<u64>,
    /// The reservation of the same geometry at the reference struct page size.
    pub(super) ideal_bytes: Option<u64>,
    /// reservation - ideal, never negative.
    pub(super) excess_bytes: Option<u64>,
    /// The excess as a share of the namespace, in per cent.
    pub(super) excess_percent: Option<f64>,
    /// reservation - the formula at the running kernel's `sizeof(struct page)`, never negative: information only.
    pub(super) unused_bytes: Option<u64>,
    /// The same as a share of the namespace, in per cent.
    pub(super) unused_percent: Option<f64>,
    /// DRAM that holds the struct pages of the namespace; 0 while it is disabled.
    pub(super) memmap_dram_bytes: Option<u64>,
    /// Whether it costs what it should.
    pub(super) verdict: Verdict,
    /// The cause of its cost.
    pub(super) cause: Cause,
    /// The letter of the waste class, for the six causes that have one.
    pub(super) class: Option<char>,
    /// Where the reservation came from.
    pub(super) evidence: Option<Evidence>,
    /// Whether the reservation was read, and not inferred from sizes; null if there is none.
    pub(super) exact: Option<bool>,
    /// One sentence for people.
    pub(super) detail: String,
}

impl From<&AssessedNamespace> for NamespaceRow {
    fn from(assessed: &AssessedNamespace) -> Self {
        let AssessedNamespace { namespace, facts, assessment, .. } = assessed;
        let numbers = assessment.numbers;
        let holder = namespace.holder.as_ref().ok();
        let percent = |bytes: Option<u64>| percent(bytes?, numbers.size?);
        Self {
            namespace: namespace.name.clone(),
            region: namespace.region.clone(),
            mode: assessed.mode(),
            map: assessed.map().map(map_name),
            namespace_uuid: namespace.uuid.as_ref().ok().filter(|uuid| !uuid.is_nil()).map(ToString::to_string),
            block_uuid: holder.and_then(|holder| holder.uuid.as_ref().ok()).map(ToString::to_string),
            holder: holder.map(|holder| holder.name.clone()),
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
            memmap_dram_bytes: numbers.dram,
            verdict: assessment.verdict,
            cause: assessment.cause,
            class: assessment.cause.class(),
            evidence: assessment.evidence,
            exact: assessment.evidence.map(|evidence| evidence != Evidence::Inferred),
            detail: assessment.detail.clone(),
        }
    }
}

impl From<&ScanResult> for ScanReport {
    fn from(scan: &ScanResult) -> Self {
        Self {
            schema: SCHEMA,
            time: now(),
            host: gethostname().ok().and_then(|name| name.into_string().ok()),
            kernel: ScanKernel {
                release: scan.kernel.release.clone(),
                page_size_bytes: scan.kernel.page_size,
                struct_page_size_bytes: scan.kernel.struct_page_size,
            },
            verdict: scan.verdict,
            info_blocks_problem: scan.blocks_problem.clone(),
            device_totals: scan.device_totals,
            totals: scan.totals,
            memmap_counter: scan.memmap_counter,
            regions: scan.regions.iter().map(RegionRow::from).collect(),
            namespaces: scan.namespaces.iter().map(NamespaceReport::from).collect(),
            devices: scan.devices.iter().map(DeviceRow::from).collect(),
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

impl From<&AssessedNamespace> for NamespaceReport {
    fn from(assessed: &AssessedNamespace) -> Self {
        let hints = assessed.assessment.hints.iter().map(HintRow::from).collect();
        Self { row: NamespaceRow::from(assessed), hints, users: assessed.users.clone() }
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

/// Percent with two digits after the point, truncated.
pub(super) fn percent(bytes: u64, whole: u64) -> Option<f64> {
    let hundredths = (u128::from(bytes) * 10_000).checked_div(u128::from(whole))?;
    u32::try_from(hundredths).ok().map(|hundredths| f64::from(hundredths) / 100.0)
}
