//! Exemptions: what lets an oversize creation pass.

use pfnwatch_common::policy::{Exemption, ExemptionKind, MOST_EXEMPTIONS};

use super::{creation::Creation, judge::slot};
use crate::{emit, maps::TICKETS, uuid::Uuid};

/// Wanted of [`exemption_for`]: one that is good for any number of creations, or for one, which is then spent; each for a
/// namespace that has a uuid, or for one that has none.
const ONCE: u64 = 1;
const HAS_UUID: u64 = 2;

/// The id of an exemption for this creation that is good for any number of them; 0 for none.
#[inline(always)]
pub(super) fn standing(creation: &Creation, policy: u64) -> u64 {
    search(creation, policy, 0)
}

/// Spends an exemption for this creation that is good for one, and gives its id; 0 for none.
#[inline(always)]
pub(super) fn spend(creation: &Creation, policy: u64) -> u64 {
    search(creation, policy, ONCE)
}

#[inline(always)]
fn search(creation: &Creation, policy: u64, wanted: u64) -> u64 {
    match &creation.namespace_uuid {
        Some(uuid) => {
            let [first, second] = uuid.words();
            exemption_for(policy, creation.start, first, second, wanted | HAS_UUID)
        }
        None => exemption_for(policy, creation.start, 0, 0, wanted),
    }
}

/// A function that the verifier knows of by its types: it follows the loop once for all calls, and not once more for each
/// way that leads to a call, which took most of the time that it took for all programs. Such a function takes numbers.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn exemption_for(policy: u64, start: u64, uuid_first: u64, uuid_second: u64, wanted: u64) -> u64 {
    let Some(snapshot) = slot(policy) else { return 0 };
    if snapshot.exemption_count == 0 {
        return 0;
    }
    let uuid = (wanted & HAS_UUID != 0).then(|| Uuid::of_words([uuid_first, uuid_second]));
    let now = emit::now();
    let mut at = 0;
    while at < MOST_EXEMPTIONS && at < snapshot.exemption_count as usize {
        // SAFETY: `at` is within the array.
        let exemption = unsafe { &*snapshot.exemptions.as_ptr().add(at) };
        let is_kind = (exemption.once != 0) == (wanted & ONCE != 0);
        // The kernel removes an entry for one caller only: of two that race, one gets an error.
        let takes = || wanted & ONCE == 0 || TICKETS.remove(exemption.id).is_ok();
        if is_kind && covers(exemption, start, &uuid) && now < exemption.until_ns && takes() {
            return exemption.id;
        }
        at += 1;
    }
    0
}

#[inline(always)]
fn covers(exemption: &Exemption, start: u64, uuid: &Option<Uuid>) -> bool {
    if exemption.kind == ExemptionKind::Range as u32 {
        exemption.first <= start && start <= exemption.last
    } else {
        exemption.kind == ExemptionKind::Namespace as u32
            && uuid.as_ref().is_some_and(|own| own.is_bytes(&exemption.namespace_uuid))
    }
}
