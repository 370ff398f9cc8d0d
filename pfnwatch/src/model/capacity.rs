//! Capacity regressions: what a memmap costs now beside what it cost before.

mod device;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::device::{DeviceKey, DeviceLoss, DeviceRecord, DeviceState, RegressedDevice, losses};
use crate::model::event::Time;
use crate::model::store::BootRow;
use crate::model::units::Bytes;

/// A capacity regression: something costs more than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Regression {
    /// What costs more.
    #[serde(flatten)]
    pub subject: RegressionSubject,
    /// What it cost before: the lowest cost that is known.
    pub before: Cost,
    /// What it costs now.
    pub after: Cost,
}

impl Regression {
    /// What is reserved more than before, DRAM that is not returned, or what a device lost, in bytes.
    #[must_use]
    pub fn lost_bytes(&self) -> u64 {
        match &self.subject {
            RegressionSubject::MemmapReturn { not_returned_bytes } => *not_returned_bytes,
            RegressionSubject::Device(it) => it.lost_bytes(),
            RegressionSubject::Host | RegressionSubject::Namespace(_) => {
                self.after.reservation_bytes.saturating_sub(self.before.reservation_bytes)
            }
        }
    }
}

/// What a regression is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "subject", rename_all = "snake_case")]
pub enum RegressionSubject {
    /// New namespaces on this host: the costs are those of a namespace of 1 TiB with map=dev.
    Host,
    /// One namespace.
    Namespace(NamespaceKey),
    /// Memmaps in DRAM that are removed on this host: this kernel does not return the DRAM, and an earlier one did. The costs are
    /// as for `host`.
    MemmapReturn {
        /// DRAM in bytes that is lost each time a namespace of 1 TiB with map=mem is disabled.
        not_returned_bytes: u64,
    },
    /// One device of the dax bus that no namespace owns. The costs are the bytes of its memmap.
    Device(RegressedDevice),
}

/// The identity of a namespace over boots, kernels and reconfigurations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NamespaceKey {
    /// Its last name: `namespace0.0`.
    pub namespace: String,
    /// Its namespace uuid; null on legacy and e820 regions.
    pub namespace_uuid: Option<Uuid>,
    /// Physical address of its first byte.
    pub start_address: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// What something cost under a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cost {
    /// The release of the kernel under which it was seen.
    pub kernel: String,
    /// When it was seen, in RFC 3339.
    pub seen: String,
    /// The reservation in bytes.
    pub reservation_bytes: u64,
    /// Reservation minus ideal, in bytes.
    pub excess_bytes: u64,
    /// MAX_STRUCT_PAGE_SIZE of the kernel, or the value recorded in the info block; in bytes.
    pub max_struct_page_size_bytes: Option<u64>,
}

/// Who has accepted a cost, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Acceptance {
    /// Who, in words.
    pub by: String,
    /// Why: the reason that they gave.
    pub reason: String,
    /// When, in RFC 3339.
    pub time: String,
}

/// Whose cost is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BaselineScope {
    /// The host's: what the running kernel makes of a namespace.
    Host,
    /// A namespace's, by its name, its namespace uuid or its first address (`0x…`).
    Namespace(String),
    /// A device's, by its name, its serial or its first address (`0x…`).
    Device(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// There is no regression of that name.
    #[error("{0} does not cost more than before, as far as the agent knows: `pfnwatch baseline` lists what does")]
    NoRegression(String),
    #[error("several had the name {0}: give its namespace uuid, its serial, or its first address as 0x…")]
    Ambiguous(String),
    /// The regression is that of an earlier boot, or of a libnvdimm that is not loaded.
    #[error("what the running kernel reserves for each page is not known: load libnvdimm, and accept it then")]
    UnknownKernel,
    #[error(
        "the event store cannot save it, and it would be lost with this agent: `pfnwatch status` shows what is wrong with the event store"
    )]
    NotSaved,
}

/// A namespace over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CostRecord"))]
pub struct CostRecord {
    /// Which one.
    #[serde(flatten)]
    pub namespace: NamespaceKey,
    /// What it cost when it was seen last; none since it was destroyed.
    pub last: Option<Cost>,
    /// The lowest cost that was seen, or the one that was accepted.
    pub baseline: Cost,
    /// Who has accepted that, where somebody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Acceptance>,
}

impl CostRecord {
    pub(crate) fn costs(&self, cost: &Cost) -> bool {
        self.last.as_ref().is_some_and(|last| *cost == Cost { seen: cost.seen.clone(), ..last.clone() })
    }

    pub(crate) fn accepted(&self, acceptance: Acceptance) -> Self {
        let baseline = self.last.clone().unwrap_or_else(|| self.baseline.clone());
        Self { baseline, accepted: Some(acceptance), ..self.clone() }
    }

    /// Whether it costs more than before. Another map or align is its maker's choice, and changes the ideal as well:
    /// only the loss beyond that is a regression.
    #[must_use]
    pub fn regression(&self) -> Option<Regression> {
        let after = self.last.as_ref().filter(|_| self.has_regression())?;
        Some(Regression {
            subject: RegressionSubject::Namespace(self.namespace.clone()),
            before: self.baseline.clone(),
            after: after.clone(),
        })
    }

    /// Whether [`Self::regression`] returns one.
    #[must_use]
    pub fn has_regression(&self) -> bool {
        let before = &self.baseline;
        let costs_more = |after: &Cost| {
            after.excess_bytes > before.excess_bytes && after.reservation_bytes > before.reservation_bytes
        };
        self.last.as_ref().is_some_and(costs_more)
    }
}

/// A kernel with a libnvdimm whose numbers are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedKernel {
    /// Its identity: the boot, and the libnvdimm that was loaded in it.
    pub id: String,
    pub release: String,
    /// When it was last seen, in RFC 3339.
    pub seen: String,
    pub page_size: u64,
    /// What it reserves for each page with map=dev, in bytes; `None` if unknown.
    pub max_struct_page_size: Option<u64>,
    /// Whether it returns a memmap in DRAM when its device is disabled; `None` if unknown.
    pub memmap_returned: Option<bool>,
    /// Whether nothing is compared with it any more: the cost of a later kernel was accepted.
    pub superseded: bool,
}

#[must_use]
pub fn observed_kernel(boot: &BootRow, page_size: u64) -> ObservedKernel {
    ObservedKernel {
        id: format!("{} {}", boot.boot_id, boot.module_build_id.as_deref().unwrap_or_default()),
        release: boot.release.clone(),
        seen: Time(boot.last_seen).to_string(),
        page_size,
        max_struct_page_size: boot.max_struct_page_size,
        memmap_returned: boot.memmap_returned,
        superseded: boot.superseded,
    }
}

/// The regression, its amount and the kernels: one sentence without its full stop.
#[must_use]
pub fn describe(regression: &Regression) -> String {
    let Regression { subject, before, after } = regression;
    if let RegressionSubject::MemmapReturn { not_returned_bytes } = subject {
        return format!(
            "Linux {} does not return a memmap in DRAM, and Linux {} did: {} are lost each time a namespace of 1 TiB with map=mem is disabled",
            after.kernel,
            before.kernel,
            Bytes(*not_returned_bytes)
        );
    }
    if let RegressionSubject::Device(it) = subject {
        return format!(
            "{} lost capacity under Linux {}, compared with Linux {}: {}",
            subject_text(subject),
            after.kernel,
            before.kernel,
            it.describe()
        );
    }
    format!(
        "{} costs {} more: {} now ({}), {} before ({})",
        subject_text(subject),
        Bytes(regression.lost_bytes()),
        Bytes(after.reservation_bytes),
        under_kernel(after),
        Bytes(before.reservation_bytes),
        under_kernel(before)
    )
}

#[must_use]
pub fn describe_ended(regression: &Regression) -> String {
    let Regression { subject, before, after } = regression;
    match subject {
        RegressionSubject::MemmapReturn { .. } => {
            return format!("a memmap in DRAM is returned again (Linux {} did not)", after.kernel);
        }
        RegressionSubject::Device(it) => {
            return format!(
                "{} has no capacity regression any more; compared with Linux {}, under Linux {}: {}",
                subject_text(subject),
                before.kernel,
                after.kernel,
                it.describe()
            );
        }
        RegressionSubject::Host | RegressionSubject::Namespace(_) => {}
    }
    format!("{} no longer costs {} ({})", subject_text(subject), Bytes(after.reservation_bytes), under_kernel(after))
}

#[must_use]
pub fn describe_accepted(regression: &Regression) -> String {
    let Regression { subject, before, after } = regression;
    if matches!(subject, RegressionSubject::MemmapReturn { .. }) {
        return format!("the new baseline is that a memmap in DRAM is not returned ({})", under_kernel(after));
    }
    if let RegressionSubject::Device(it) = subject {
        return format!(
            "what {} serves under Linux {} is the baseline from now on; compared with Linux {}: {}",
            subject_text(subject),
            after.kernel,
            before.kernel,
            it.describe()
        );
    }
    format!(
        "the new baseline of {} is {} ({}); it was {} ({})",
        subject_text(subject),
        Bytes(after.reservation_bytes),
        under_kernel(after),
        Bytes(before.reservation_bytes),
        under_kernel(before),
    )
}

#[must_use]
pub fn subject_text(subject: &RegressionSubject) -> String {
    match subject {
        RegressionSubject::Host => "a namespace of 1 TiB with map=dev".to_owned(),
        RegressionSubject::Namespace(it) => format!("{} of {}", it.namespace, Bytes(it.size_bytes)),
        RegressionSubject::MemmapReturn { .. } => "a memmap in DRAM".to_owned(),
        RegressionSubject::Device(it) => format!("{} of {}", it.device.device, Bytes(it.device.size_bytes)),
    }
}

#[must_use]
pub fn under_kernel(cost: &Cost) -> String {
    match cost.max_struct_page_size_bytes {
        Some(bytes) => format!("{bytes} B a page, seen under {}", cost.kernel),
        None => format!("seen under {}", cost.kernel),
    }
}
