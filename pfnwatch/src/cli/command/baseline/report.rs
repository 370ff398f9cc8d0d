//! The regressions with their baselines, for programs. Pure.

use serde::Serialize;

use crate::analysis::baseline::{host_regression, reference_cost};
use crate::model::capacity::{Acceptance, Cost, CostRecord, NamespaceKey, observed_kernel};
use crate::model::event::{CapacityRegression, Time};
use crate::model::store::BootRow;

/// The whole document.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BaselineReport {
    /// The kernels under which an agent has run, the oldest first.
    pub(super) kernels: Vec<BaselineKernel>,
    /// The namespaces with a memmap on the media, those that are gone among them.
    pub(super) namespaces: Vec<NamespaceCost>,
    /// What costs more than it did.
    pub(super) regressions: Vec<CapacityRegression>,
}

/// A kernel with its libnvdimm.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "BaselineKernel"))]
pub(super) struct BaselineKernel {
    /// Its release.
    pub(super) kernel: String,
    /// The build-id of its libnvdimm, in hex; null where it is built in, or none was seen.
    pub(super) libnvdimm_build_id: Option<String>,
    /// Its `sizeof(struct page)` in bytes.
    pub(super) struct_page_size_bytes: Option<u64>,
    /// What it reserves for each page with map=dev, in bytes.
    pub(super) max_struct_page_size_bytes: Option<u64>,
    /// What a namespace of 1 TiB with map=dev costs under it, in bytes.
    pub(super) reservation_of_1_tib_bytes: Option<u64>,
    /// What says so, in words.
    pub(super) evidence: Vec<String>,
    /// When an agent ran under it first, in RFC 3339.
    pub(super) first_seen: String,
    /// When an agent ran under it last, in RFC 3339.
    pub(super) last_seen: String,
    /// Whether it is the one that runs, or ran last where none of them does.
    pub(super) current: bool,
    /// Whether nothing is held against it any more: what came after it was accepted.
    pub(super) set_aside: bool,
    /// Who has accepted what it costs, where somebody has.
    pub(super) accepted: Option<Acceptance>,
}

/// A namespace.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "BaselineNamespace"))]
pub(super) struct NamespaceCost {
    #[serde(flatten)]
    pub(super) namespace: NamespaceKey,
    /// What it costs; null once it is gone, or its memmap is.
    pub(super) now: Option<Cost>,
    /// The least that it, or what lay in its room, was seen to cost.
    pub(super) least: Cost,
    /// How much more that is, in bytes, where that is a regression.
    pub(super) lost_bytes: Option<u64>,
    /// Who has accepted the least, where somebody has.
    pub(super) accepted: Option<Acceptance>,
}

impl BaselineReport {
    /// Compares all boots and costs; `boot_id` is the current boot.
    #[must_use]
    pub fn of(boots: Vec<BootRow>, costs: Vec<CostRecord>, boot_id: &str, page_size: u64) -> Self {
        let current = current(&boots, boot_id).cloned();
        let seen: Vec<_> = boots.iter().map(|boot| observed_kernel(boot, page_size)).collect();
        let of_host = current.as_ref().and_then(|boot| host_regression(&observed_kernel(boot, page_size), &seen));
        let of_namespaces = costs.iter().filter_map(CostRecord::regression);
        let regressions = of_host.into_iter().chain(of_namespaces).map(CapacityRegression::begins).collect();
        let kernels = boots.into_iter().map(|boot| kernel(&boot, current.as_ref(), page_size)).collect();
        Self { kernels, namespaces: costs.into_iter().map(row).collect(), regressions }
    }
}

/// Of several libnvdimms in one boot the last.
fn current<'a>(boots: &'a [BootRow], boot_id: &str) -> Option<&'a BootRow> {
    let last = |these: &mut dyn Iterator<Item = &'a BootRow>| these.max_by_key(|boot| boot.last_seen);
    last(&mut boots.iter().filter(|boot| boot.boot_id == boot_id)).or_else(|| last(&mut boots.iter()))
}

fn kernel(boot: &BootRow, current: Option<&BootRow>, page_size: u64) -> BaselineKernel {
    BaselineKernel {
        kernel: boot.release.clone(),
        libnvdimm_build_id: boot.module_build_id.clone(),
        struct_page_size_bytes: boot.struct_page_size,
        max_struct_page_size_bytes: boot.max_struct_page_size,
        reservation_of_1_tib_bytes: reference_cost(&observed_kernel(boot, page_size))
            .map(|cost| cost.reservation_bytes),
        evidence: boot.evidence.clone(),
        first_seen: Time(boot.first_seen).to_string(),
        last_seen: Time(boot.last_seen).to_string(),
        current: current == Some(boot),
        set_aside: boot.set_aside,
        accepted: boot.accepted.clone(),
    }
}

fn row(record: CostRecord) -> NamespaceCost {
    let lost_bytes = record.regression().map(|regression| regression.lost_bytes());
    NamespaceCost {
        namespace: record.namespace,
        now: record.last,
        least: record.least,
        lost_bytes,
        accepted: record.accepted,
    }
}
