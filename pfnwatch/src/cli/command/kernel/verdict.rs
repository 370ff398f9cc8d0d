//! What the evidence on a kernel means.

use object::Architecture;
use pfnwatch_common::reservation::{REFERENCE_STRUCT_PAGE, Reservation};
use pfnwatch_common::{Geometry, KernelQuirks, Map, reservation};
use serde::Serialize;

use super::defects::{self, AssessedDefect, MemmapEvidence};
use crate::code::max_struct_page::MaxStructPage;
use crate::code::memmap_free::MemmapReturn;
use crate::image::KernelImage;
use crate::image::max_struct_page::RunningKernel;
use crate::kernel::known_defects::EvidenceKind;
use crate::kernel::max_struct_page::{Resolved, resolve};

/// The namespace for which losses are computed: 1 TiB at 4 GiB, align 2 MiB, pages of 4 KiB, memmap on the device.
const EXAMPLE: Geometry =
    Geometry { start: 4 << 30, size: 1 << 40, align: 2 << 20, map: Map::Dev, page_size: 4096, compat: 2 << 20 };

/// The verdict on a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "KernelVerdict"))]
#[serde(rename_all = "snake_case")]
pub(super) enum KernelVerdict {
    /// It reserves what every kernel without the regression does, or less.
    Ok,
    /// It reserves more.
    Regressed,
    /// Only its release is among those that reserve more.
    Suspected,
    /// It refuses map=dev, since its `struct page` is larger than its maximum.
    #[serde(rename = "refuses_map_dev")]
    Refuses,
    /// The evidence is missing or contradicts itself.
    Unknown,
}

impl KernelVerdict {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Regressed => "regressed",
            Self::Suspected => "suspected",
            Self::Refuses => "refuses map=dev",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Debug)]
pub(super) struct AssessedKernel {
    pub(super) release: String,
    pub(super) verdict: KernelVerdict,
    pub(super) max: Option<MaxStructPage>,
    pub(super) override_set: Option<bool>,
    pub(super) struct_page_bytes: Option<u64>,
    /// What a namespace of 1 TiB with map=dev loses against the ideal.
    pub(super) loss_per_tib_bytes: Option<u64>,
    pub(super) resolved: Resolved,
    pub(super) memmap: Option<MemmapEvidence>,
    pub(super) defects: Vec<AssessedDefect>,
    pub(super) problems: Vec<String>,
}

impl AssessedKernel {
    pub(super) fn of_files(release: String, kernel: KernelImage) -> Self {
        let resolved = resolve(kernel.evidence().collect());
        let mut problems = kernel.problems;
        for (file, module) in &kernel.modules {
            problems.extend(module.code.as_ref().err().map(|error| format!("{file}: {error}")));
        }
        if kernel.modules.is_empty() {
            problems.push(if kernel.built_in { BUILT_IN } else { NO_MODULE }.to_owned());
        }
        let is_x86_64 = kernel.architecture.is_none_or(|architecture| architecture == Architecture::X86_64);
        // No other architecture has the defect.
        let memmap = match kernel.memmap_return.filter(|_| is_x86_64) {
            Some(Ok((found, _))) => Some((found, EvidenceKind::FileCode)),
            Some(Err(problem)) => {
                problems.push(format!("whether a memmap in DRAM is returned: {problem}"));
                None
            }
            None => None,
        };
        Self::new(release, is_x86_64, resolved, None, kernel.struct_page_bytes, memmap, problems)
    }

    pub(super) fn of_host(
        release: String,
        host: RunningKernel,
        struct_page_bytes: Option<u64>,
        memmap: Result<MemmapReturn, String>,
    ) -> Self {
        let mut problems = host.problems;
        let memmap =
            memmap.map_err(|problem| problems.push(format!("whether a memmap in DRAM is returned: {problem}")));
        let memmap = memmap.ok().map(|found| (found, EvidenceKind::RunningCode));
        Self::new(
            release,
            cfg!(target_arch = "x86_64"),
            host.resolved,
            host.override_set,
            struct_page_bytes,
            memmap,
            problems,
        )
    }

    fn new(
        release: String,
        is_x86_64: bool,
        resolved: Resolved,
        override_set: Option<bool>,
        struct_page_bytes: Option<u64>,
        memmap: Option<MemmapEvidence>,
        mut problems: Vec<String>,
    ) -> Self {
        let max = resolved.agreed();
        if resolved.best.as_ref().and_then(|best| best.source.addresses()).is_some_and(|at| at.shift.is_none()) {
            problems.push(NO_SHIFT.to_owned());
        }
        // A kernel compares with its sizeof(struct page) at build time: with an override in the code, that is its size.
        let struct_page = struct_page_bytes.or_else(|| max.and_then(|max| max.overridden_bytes));
        let effective = max.map(|max| max.effective(override_set == Some(true)));
        let verdict = match effective {
            None => KernelVerdict::Unknown,
            Some(bytes) if struct_page.is_some_and(|size| size > bytes) => KernelVerdict::Refuses,
            Some(bytes) if bytes > REFERENCE_STRUCT_PAGE && resolved.proven().is_none() => KernelVerdict::Suspected,
            Some(bytes) if bytes > REFERENCE_STRUCT_PAGE => KernelVerdict::Regressed,
            Some(_) => KernelVerdict::Ok,
        };
        let loss = effective.filter(|_| verdict != KernelVerdict::Refuses).and_then(loss_per_tib);
        let defects = defects::assess(&release, is_x86_64, verdict, &resolved, memmap);
        let loss_per_tib_bytes = loss;
        Self {
            release,
            verdict,
            max,
            override_set,
            struct_page_bytes,
            loss_per_tib_bytes,
            resolved,
            memmap,
            defects,
            problems,
        }
    }
}

const BUILT_IN: &str = "libnvdimm is built into this kernel, so there is no module file to read: \
    boot it and run `pfnwatch kernel --running`";
const NO_SHIFT: &str = "the code nowhere multiplies pages with it: either this build refuses map=dev, its struct page \
    being larger (its image shows the size), or its compiler did it in a way that is not recognized";
const NO_MODULE: &str = "no libnvdimm module among the files: add the package or folder that holds the modules";

/// What [`EXAMPLE`] loses against the ideal on a kernel with `max_struct_page` bytes.
fn loss_per_tib(max_struct_page: u64) -> Option<u64> {
    let dataoff =
        |size| reservation(&EXAMPLE, size, KernelQuirks::default()).map(|Reservation { dataoff, .. }| dataoff).ok();
    Some(dataoff(max_struct_page)?.saturating_sub(dataoff(REFERENCE_STRUCT_PAGE)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::max_struct_page::{Evidence, Source, of_release};

    fn assessed(max: MaxStructPage, override_set: Option<bool>, struct_page: Option<u64>) -> AssessedKernel {
        let source = Source::ObservedBlock { namespace: "namespace0.0".into() };
        let resolved = resolve(vec![Evidence { max, source }]);
        AssessedKernel::new("6.1.0".into(), true, resolved, override_set, struct_page, None, Vec::new())
    }

    fn max(bytes: u64, overridden_bytes: Option<u64>) -> MaxStructPage {
        MaxStructPage { bytes, overridden_bytes }
    }

    #[test]
    fn losses_are_exact() {
        assert_eq!([32, 64, 80, 128].map(loss_per_tib), [Some(0), Some(0), Some(4 << 30), Some(16 << 30)]);
    }

    #[test]
    fn verdicts() {
        let verdict = |max, set, struct_page| assessed(max, set, struct_page).verdict;
        assert_eq!(verdict(max(64, None), None, Some(64)), KernelVerdict::Ok);
        assert_eq!(verdict(max(128, None), None, None), KernelVerdict::Regressed);
        assert_eq!(verdict(max(128, None), None, Some(80)), KernelVerdict::Regressed);
        let by_release = resolve(vec![of_release("6.1.0").unwrap()]);
        let by_release = AssessedKernel::new("6.1.0".into(), true, by_release, None, Some(64), None, Vec::new());
        assert_eq!(by_release.verdict, KernelVerdict::Suspected, "a release is no proof");
        assert_eq!(verdict(max(64, None), None, Some(80)), KernelVerdict::Refuses);
        assert_eq!(
            verdict(max(32, Some(64)), None, None),
            KernelVerdict::Refuses,
            "the code shows the size of struct page"
        );
        assert_eq!(verdict(max(32, Some(64)), Some(true), Some(64)), KernelVerdict::Ok);
        assert_eq!(verdict(max(64, Some(80)), Some(true), Some(80)), KernelVerdict::Regressed);
        assert_eq!(AssessedKernel::of_files("6.1.0".into(), KernelImage::default()).verdict, KernelVerdict::Unknown);
    }
}
