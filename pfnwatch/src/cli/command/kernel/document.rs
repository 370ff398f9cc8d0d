//! The report as programs read it.

use serde::Serialize;

use super::report::KernelReport;
use super::verdict::{AssessedKernel, KernelVerdict};
use crate::kernel::max_struct_page::{Evidence, Source};

/// What was asked about, and what came of it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "KernelDocument"))]
pub(in crate::cli::command) struct KernelDocument<'a> {
    /// The kernels that were looked at.
    kernels: Vec<KernelRow<'a>>,
    /// The paths that gave none.
    failures: Vec<FailedFile<'a>>,
}

/// A kernel with its verdict.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "JudgedKernel"))]
struct KernelRow<'a> {
    /// Its release.
    release: &'a str,
    /// Does it reserve more than it should?
    verdict: KernelVerdict,
    /// What it reserves for each page with map=dev, in bytes; null where that is not known.
    max_struct_page_bytes: Option<u64>,
    /// The same with the parameter `page_struct_override`; null where the kernel has none.
    overridden_struct_page_bytes: Option<u64>,
    /// Whether the parameter is set on the kernel that runs; null for other kernels, and where there is none.
    page_struct_override: Option<bool>,
    /// Its `sizeof(struct page)` in bytes.
    struct_page_bytes: Option<u64>,
    /// What a namespace of 1 TiB with map=dev loses against the ideal, in bytes.
    loss_per_tib_bytes: Option<u64>,
    /// What says so, the strongest first.
    evidence: Vec<EvidenceRow<'a>>,
    /// What says something else.
    conflicts: Vec<EvidenceRow<'a>>,
    /// What could not be asked, and why.
    problems: &'a [String],
}

/// One piece of evidence.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "KernelEvidence"))]
struct EvidenceRow<'a> {
    /// `release`, `module file`, `running code` or `observed block`: the later, the stronger.
    source: &'static str,
    /// What it says that is reserved for each page, in bytes.
    max_struct_page_bytes: u64,
    /// The same with `page_struct_override`.
    overridden_struct_page_bytes: Option<u64>,
    /// In words.
    text: String,
    /// The function whose code says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    /// Where the instruction lies that stores the size.
    #[serde(skip_serializing_if = "Option::is_none")]
    store_address: Option<u64>,
    /// Where the instruction lies that multiplies by it, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    shift_address: Option<Option<u64>>,
    /// The file that the code was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    /// The module's build-id, in hex; null where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    build_id: Option<Option<&'a str>>,
}

/// A path that gave no kernel.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "KernelFailure"))]
struct FailedFile<'a> {
    /// The path.
    path: &'a str,
    /// Why.
    reason: &'a str,
}

impl<'a> From<&'a KernelReport> for KernelDocument<'a> {
    fn from(report: &'a KernelReport) -> Self {
        let failure = |(path, reason): &'a (String, String)| FailedFile { path, reason };
        Self {
            kernels: report.kernels.iter().map(KernelRow::from).collect(),
            failures: report.failures.iter().map(failure).collect(),
        }
    }
}

impl<'a> From<&'a AssessedKernel> for KernelRow<'a> {
    fn from(kernel: &'a AssessedKernel) -> Self {
        let resolved = &kernel.resolved;
        Self {
            release: &kernel.release,
            verdict: kernel.verdict,
            max_struct_page_bytes: kernel.max.map(|max| max.bytes),
            overridden_struct_page_bytes: kernel.max.and_then(|max| max.overridden_bytes),
            page_struct_override: kernel.override_set,
            struct_page_bytes: kernel.struct_page_bytes,
            loss_per_tib_bytes: kernel.loss_per_tib_bytes,
            evidence: resolved.best.iter().chain(&resolved.agreeing).map(EvidenceRow::from).collect(),
            conflicts: resolved.conflicting.iter().map(EvidenceRow::from).collect(),
            problems: &kernel.problems,
        }
    }
}

impl<'a> From<&'a Evidence> for EvidenceRow<'a> {
    fn from(evidence: &'a Evidence) -> Self {
        let function = match &evidence.source {
            Source::ModuleFile { function, .. } | Source::RunningCode { function, .. } => Some(&**function),
            Source::Release { .. } | Source::ObservedBlock { .. } => None,
        };
        let (file, build_id) = match &evidence.source {
            Source::ModuleFile { file, build_id, .. } => (Some(&**file), Some(build_id.as_deref())),
            _ => (None, None),
        };
        let at = evidence.source.addresses();
        Self {
            source: evidence.source.strength().as_str(),
            max_struct_page_bytes: evidence.max.bytes,
            overridden_struct_page_bytes: evidence.max.overridden_bytes,
            text: evidence.source.to_string(),
            function,
            store_address: at.map(|at| at.store),
            shift_address: at.map(|at| at.shift),
            file,
            build_id,
        }
    }
}
