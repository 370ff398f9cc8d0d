//! Namespaces and devices as lines of one table of comma-separated values.

use serde::Serialize;

use super::device_report::DeviceRow;
use super::report::NamespaceRow;
use crate::model::device::MemmapPlace;
use crate::model::scan_result::ScanResult;
use crate::model::verdict::{Evidence, Verdict};

pub(super) fn render(scan: &ScanResult) -> anyhow::Result<String> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    for assessed in &scan.namespaces {
        lines.serialize(Line::from(NamespaceRow::from(assessed)))?;
    }
    for assessed in &scan.devices {
        lines.serialize(Line::from(DeviceRow::from(assessed)))?;
    }
    Ok(String::from_utf8(lines.into_inner()?)?)
}

/// What is unknown, or not of this kind, is empty.
#[derive(Default, Serialize)]
struct Line {
    kind: &'static str,
    name: String,
    parent: Option<String>,
    mode: &'static str,
    map: Option<&'static str>,
    driver: Option<String>,
    namespace_uuid: Option<String>,
    block_uuid: Option<String>,
    holder: Option<String>,
    start_address: Option<u64>,
    align_bytes: Option<u64>,
    target_node: Option<i32>,
    size_bytes: Option<u64>,
    usable_bytes: Option<u64>,
    reservation_bytes: Option<u64>,
    end_trunc_bytes: Option<u64>,
    ideal_bytes: Option<u64>,
    excess_bytes: Option<u64>,
    excess_percent: Option<f64>,
    unused_bytes: Option<u64>,
    unused_percent: Option<f64>,
    memmap_place: Option<MemmapPlace>,
    memmap_bytes: Option<u64>,
    memmap_dram_bytes: Option<u64>,
    deduplicated: Option<bool>,
    online_bytes: Option<u64>,
    offline_bytes: Option<u64>,
    stranded_bytes: Option<u64>,
    state: Option<String>,
    memmap_on_memory_configured: Option<bool>,
    memmap_on_memory_effective: Option<bool>,
    verdict: Option<Verdict>,
    cause: Option<&'static str>,
    class: Option<char>,
    evidence: Option<Evidence>,
    exact: Option<bool>,
    detail: String,
}

impl From<NamespaceRow> for Line {
    fn from(row: NamespaceRow) -> Self {
        Self {
            kind: "namespace",
            name: row.namespace,
            parent: Some(row.region),
            mode: row.mode,
            map: row.map,
            namespace_uuid: row.namespace_uuid,
            block_uuid: row.block_uuid,
            holder: row.holder,
            start_address: row.start_address,
            align_bytes: row.align_bytes,
            size_bytes: row.size_bytes,
            usable_bytes: row.usable_bytes,
            reservation_bytes: row.reservation_bytes,
            end_trunc_bytes: row.end_trunc_bytes,
            ideal_bytes: row.ideal_bytes,
            excess_bytes: row.excess_bytes,
            excess_percent: row.excess_percent,
            unused_bytes: row.unused_bytes,
            unused_percent: row.unused_percent,
            memmap_dram_bytes: row.memmap_dram_bytes,
            verdict: Some(row.verdict),
            cause: Some(row.cause.as_str()),
            class: row.class,
            evidence: row.evidence,
            exact: row.exact,
            detail: row.detail,
            ..Self::default()
        }
    }
}

impl From<DeviceRow> for Line {
    fn from(row: DeviceRow) -> Self {
        Self {
            kind: row.kind.as_str(),
            name: row.device,
            parent: row.parent,
            mode: row.mode,
            driver: row.driver,
            start_address: row.start_address,
            align_bytes: row.align_bytes,
            target_node: row.target_node,
            size_bytes: row.size_bytes,
            usable_bytes: row.usable_bytes,
            memmap_place: row.memmap_place,
            memmap_bytes: row.memmap_bytes,
            memmap_dram_bytes: row.memmap_dram_bytes,
            deduplicated: row.deduplicated,
            online_bytes: row.online_bytes,
            offline_bytes: row.offline_bytes,
            stranded_bytes: row.stranded_bytes,
            state: row.state,
            memmap_on_memory_configured: row.memmap_on_memory_configured,
            memmap_on_memory_effective: row.memmap_on_memory_effective,
            detail: row.notes.join("; "),
            ..Self::default()
        }
    }
}
