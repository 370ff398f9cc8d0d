//! The cost of a namespace under the kernel of this boot, compared with earlier kernels.

use crate::model::capacity::ObservedKernel;
use pfnwatch_common::{Geometry, KernelQuirks, Map, reservation, reservation::REFERENCE_STRUCT_PAGE};

use crate::model::capacity::{Cost, Regression, RegressionSubject};
use crate::model::kernel::COMPAT_ALIGN;

/// The namespace that people think in: 1 TiB with map=dev and ndctl's usual align, at the start of a region.
const REFERENCE_SIZE: u64 = 1 << 40;
const REFERENCE_ALIGN: u64 = 2 << 20;
const REFERENCE_START: u64 = 4 << 30;

/// What a namespace of 1 TiB costs under a kernel; `None` if unknown.
#[must_use]
pub fn reference_cost(kernel: &ObservedKernel) -> Option<Cost> {
    let max = kernel.max_struct_page_size?;
    let geometry = Geometry {
        start: REFERENCE_START,
        size: REFERENCE_SIZE,
        align: REFERENCE_ALIGN,
        map: Map::Dev,
        page_size: kernel.page_size,
        compat: COMPAT_ALIGN,
    };
    let reserved = |bytes| reservation(&geometry, bytes, KernelQuirks::default()).ok().map(|it| it.dataoff);
    let reservation_bytes = reserved(max)?;
    Some(Cost {
        kernel: kernel.release.clone(),
        seen: kernel.seen.clone(),
        reservation_bytes,
        excess_bytes: reservation_bytes.saturating_sub(reserved(REFERENCE_STRUCT_PAGE)?),
        max_struct_page_size_bytes: Some(max),
    })
}

/// The kernel that others are compared with, and its cost: the one with the lowest cost, and of several the latest.
#[must_use]
pub fn reference<'a>(kernels: impl Iterator<Item = &'a ObservedKernel>) -> Option<(&'a ObservedKernel, Cost)> {
    let costs = kernels.filter(|kernel| !kernel.set_aside).filter_map(|kernel| Some((kernel, reference_cost(kernel)?)));
    costs.min_by(|(_, a), (_, b)| a.reservation_bytes.cmp(&b.reservation_bytes).then_with(|| b.seen.cmp(&a.seen)))
}

/// Compares the running kernel with the reference among the others.
#[must_use]
pub fn host_regression(now: &ObservedKernel, others: &[ObservedKernel]) -> Option<Regression> {
    let after = reference_cost(now)?;
    let (_, before) = reference(others.iter().filter(|other| other.id != now.id))?;
    (after.reservation_bytes > before.reservation_bytes).then_some(Regression {
        subject: RegressionSubject::Host,
        before,
        after,
    })
}
