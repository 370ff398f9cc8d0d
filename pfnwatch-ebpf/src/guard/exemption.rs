//! Exemptions: what lets an oversize creation pass.

use pfnwatch_common::policy::{Exemption, ExemptionKind, MAX_EXEMPTIONS, SLOTS};

use super::assess::slot;
use super::creation::Creation;
use crate::emit;
use crate::maps::ONE_SHOT_EXEMPTIONS;
use crate::uuid::Uuid;

/// Wanted of [`exemption_for`]: one that is good for any number of creations, or for one, which is then spent; each for a
/// namespace that has a uuid, or for one that has none.
const ONCE: u64 = 1;
const HAS_UUID: u64 = 2;

/// The id of an exemption for this creation that is valid for any number of them; 0 for none.
#[inline(always)]
pub(super) fn permanent_exemption(creation: &Creation, policy: u64) -> u64 {
    search(creation, policy, 0)
}

/// Spends an exemption for this creation that is valid once, and returns its id; 0 for none.
#[inline(always)]
pub(super) fn consume(creation: &Creation, policy: u64) -> u64 {
    search(creation, policy, ONCE)
}

#[inline(always)]
fn search(creation: &Creation, policy: u64, wanted: u64) -> u64 {
    match &creation.namespace_uuid {
        Some(uuid) => {
            let [first, second] = uuid.words();
            exemption_for(policy, creation.place.start, first, second, wanted | HAS_UUID)
        }
        None => exemption_for(policy, creation.place.start, 0, 0, wanted),
    }
}

/// A global function, which the verifier checks once by its types: it follows the loop once, and not for each path that leads
/// to a call. A global function takes numbers, and at most five.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn exemption_for(policy: u64, start: u64, uuid_first: u64, uuid_second: u64, wanted: u64) -> u64 {
    let Some(snapshot) = slot(policy) else { return 0 };
    let count = snapshot.exemption_count as u64;
    let slot = policy % SLOTS as u64;
    let mut at = 0;
    while at < MAX_EXEMPTIONS as u64 && at < count {
        let id = exemption_at(slot | wanted << WANTED | at << AT, start, uuid_first, uuid_second, emit::now());
        if id != 0 {
            return id;
        }
        at += 1;
    }
    0
}

/// Where [`exemption_at`] finds what is wanted, and which exemption, in its first number; the slot is in the lowest bits.
const WANTED: u32 = 8;
const AT: u32 = 16;

/// The id of one exemption, where it is what is wanted; 0 where it is not. A function for the same reason: else the verifier
/// goes through it in each turn of the loop, in each of the ways that the turns before may have gone.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn exemption_at(which: u64, start: u64, uuid_first: u64, uuid_second: u64, now: u64) -> u64 {
    let (wanted, at) = (which >> WANTED, (which >> AT) as usize);
    let Some(snapshot) = slot(which) else { return 0 };
    if at >= MAX_EXEMPTIONS {
        return 0;
    }
    // SAFETY: `at` is within the array.
    let exemption = unsafe { &*snapshot.exemptions.as_ptr().add(at) };
    let uuid = (wanted & HAS_UUID != 0).then(|| Uuid::of_words([uuid_first, uuid_second]));
    let is_kind = (exemption.once != 0) == (wanted & ONCE != 0);
    // The kernel removes an entry for one caller only: of two that race, one gets an error.
    let takes = || wanted & ONCE == 0 || ONE_SHOT_EXEMPTIONS.remove(exemption.id).is_ok();
    if is_kind && covers(exemption, start, &uuid) && now < exemption.until_ns && takes() { exemption.id } else { 0 }
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
