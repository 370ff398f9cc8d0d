//! Exemptions: what lets an oversize creation pass.

use pfnwatch_common::policy::{Exemption, ExemptionKind, MOST_EXEMPTIONS, Snapshot};

use super::creation::Creation;
use crate::{emit, maps::TICKETS};

/// The id of an exemption for this creation that is good for any number of them; 0 for none.
#[inline(always)]
pub(super) fn standing(creation: &Creation, snapshot: &Snapshot) -> u64 {
    search(creation, snapshot, |exemption| exemption.once == 0)
}

/// Spends an exemption for this creation that is good for one, and gives its id; 0 for none.
#[inline(always)]
pub(super) fn spend(creation: &Creation, snapshot: &Snapshot) -> u64 {
    // The kernel removes an entry for one caller only: of two that race, one gets an error.
    search(creation, snapshot, |exemption| exemption.once != 0 && TICKETS.remove(exemption.id).is_ok())
}

#[inline(always)]
fn search(creation: &Creation, snapshot: &Snapshot, takes: impl Fn(&Exemption) -> bool) -> u64 {
    if snapshot.exemption_count == 0 {
        return 0;
    }
    let now = emit::now();
    let mut at = 0;
    while at < MOST_EXEMPTIONS && at < snapshot.exemption_count as usize {
        // SAFETY: `at` is within the array.
        let exemption = unsafe { &*snapshot.exemptions.as_ptr().add(at) };
        if covers(exemption, creation) && now < exemption.until_ns && takes(exemption) {
            return exemption.id;
        }
        at += 1;
    }
    0
}

#[inline(always)]
fn covers(exemption: &Exemption, creation: &Creation) -> bool {
    if exemption.kind == ExemptionKind::Range as u32 {
        exemption.first <= creation.start && creation.start <= exemption.last
    } else {
        exemption.kind == ExemptionKind::Namespace as u32 && creation.is_namespace(&exemption.namespace_uuid)
    }
}
