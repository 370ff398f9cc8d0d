//! The running kernel's MAX_STRUCT_PAGE_SIZE: read from its code, and learned from the info blocks that it writes.

use std::collections::BTreeSet;

use crate::code::max_struct_page::MaxStructPage;
use crate::image::max_struct_page::RunningKernel;
use crate::kernel::max_struct_page::{Evidence, Source};
use crate::model::event::{BlockState, Body, Event, MaxStructPageReport, MaxStructPageStatus, SetUp};

/// The evidence, and what was reported of it last.
#[derive(Debug, Default)]
pub struct KernelWatch {
    observed: Vec<Evidence>,
    reported: Option<MaxStructPageReport>,
}

impl KernelWatch {
    /// Forgets the evidence: another libnvdimm may be loaded by now.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Learns from an info block that the kernel made. Returns whether [`Self::update`] is worth it: this is new evidence, or the
    /// guard's prediction was wrong, so that the earlier evidence is in doubt.
    pub fn observe(&mut self, event: &Event) -> bool {
        let Body::SetUp(setup) = &event.body else { return false };
        self.learn(setup) || setup.guard.is_some_and(|prediction| prediction.mismatch)
    }

    fn learn(&mut self, setup: &SetUp) -> bool {
        let (BlockState::Made, Some(sizes)) = (setup.block, setup.sizes) else { return false };
        let known: BTreeSet<u64> = self.observed.iter().map(|evidence| evidence.max.bytes).collect();
        if known.contains(&sizes.page_struct_size_bytes) {
            return false;
        }
        let namespace = setup.namespace.as_ref().map_or("a namespace", |it| it.namespace.as_str()).to_owned();
        self.observed.push(Evidence {
            max: MaxStructPage { bytes: sizes.page_struct_size_bytes, overridden_bytes: None },
            source: Source::ObservedBlock { namespace },
        });
        true
    }

    /// The size that map=dev is computed with, in bytes; `None` if unknown, if the evidence is
    /// contradictory, or if there is nothing but the release's name.
    #[must_use]
    pub fn max_struct_page(&self) -> Option<u64> {
        self.reported.as_ref().and_then(|report| report.status.max_struct_page_size_bytes)
    }

    /// The last report.
    #[must_use]
    pub const fn known(&self) -> Option<&MaxStructPageReport> {
        self.reported.as_ref()
    }

    /// The evidence from info blocks.
    #[must_use]
    pub fn observed(&self) -> Vec<Evidence> {
        self.observed.clone()
    }

    /// Takes all the evidence; `None` if the result is the one that was reported last.
    pub fn update(&mut self, kernel: RunningKernel) -> Option<MaxStructPageReport> {
        let RunningKernel { resolved, override_set, problems, .. } = kernel;
        let overridden = override_set.unwrap_or(false);
        let describe = |evidence: &Evidence| format!("{} B: {}", evidence.max.effective(overridden), evidence.source);
        let report = MaxStructPageReport {
            status: MaxStructPageStatus {
                max_struct_page_size_bytes: resolved.proven().map(|max| max.effective(overridden)),
                evidence: resolved.best.iter().chain(&resolved.agreeing).map(describe).collect(),
                conflicting_evidence: resolved.conflicting.iter().map(describe).collect(),
                problems,
            },
            page_struct_override: override_set,
        };
        (self.reported.as_ref() != Some(&report)).then(|| self.reported.insert(report).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::paths::Paths;

    /// The guard is armed with [`KernelWatch::max_struct_page`].
    #[test]
    fn a_release_is_reported_and_does_not_arm_the_guard() {
        let host = tempfile::tempdir().unwrap();
        let paths = Paths { sysfs: host.path().to_owned(), procfs: host.path().to_owned() };
        let mut watch = KernelWatch::default();
        let report = watch.update(RunningKernel::gather(&paths, "6.1.5", watch.observed())).unwrap();
        assert_eq!(report.status.evidence, ["128 B: upstream release 6.1.5 (weak)"]);
        assert_eq!((report.status.max_struct_page_size_bytes, watch.max_struct_page()), (None, None));
    }
}
