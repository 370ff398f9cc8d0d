//! What the agent knows of the running kernel's MAX_STRUCT_PAGE_SIZE: asked of its code, and learned from what it writes.

use std::collections::BTreeSet;

use crate::{
    code::decode::MaxStructPage,
    image::max_struct_page::RunningKernel,
    kernel::max_struct_page::{Evidence, Source},
    model::event::{BlockState, Body, Event, MaxStructPageReport, MaxStructPageStatus},
    os::paths::Paths,
};

/// Follows the evidence.
#[derive(Debug, Default)]
pub struct KernelWatch {
    observed: Vec<Evidence>,
    reported: Option<MaxStructPageReport>,
}

impl KernelWatch {
    /// Forgets what was seen: another libnvdimm may be loaded by now.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes note of a block that the kernel made. True where it says something new, so that it is worth to look again.
    pub fn observe(&mut self, event: &Event) -> bool {
        let Body::SetUp(setup) = &event.body else { return false };
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

    /// What map=dev is computed with, as far as all the evidence tells; in bytes.
    #[must_use]
    pub fn max_struct_page(&self) -> Option<u64> {
        self.reported.as_ref().and_then(|known| known.status.max_struct_page_size_bytes)
    }

    /// All that was told last.
    #[must_use]
    pub const fn known(&self) -> Option<&MaxStructPageReport> {
        self.reported.as_ref()
    }

    /// Weighs all the evidence; none where the answer is what it was.
    pub fn update(&mut self, paths: &Paths, release: &str) -> Option<MaxStructPageReport> {
        let RunningKernel { resolved, override_set, problems } =
            RunningKernel::gather(paths, release, self.observed.clone());
        let overridden = override_set.unwrap_or(false);
        let words = |evidence: &Evidence| format!("{} B: {}", evidence.max.effective(overridden), evidence.source);
        let known = MaxStructPageReport {
            status: MaxStructPageStatus {
                max_struct_page_size_bytes: resolved.agreed().map(|max| max.effective(overridden)),
                evidence: resolved.best.iter().chain(&resolved.agreeing).map(words).collect(),
                conflicting_evidence: resolved.conflicting.iter().map(words).collect(),
            },
            page_struct_override: override_set,
            problems,
        };
        (self.reported.as_ref() != Some(&known)).then(|| self.reported.insert(known).clone())
    }
}
