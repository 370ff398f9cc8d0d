//! The judgement of a creation, by one snapshot of the policy.

use pfnwatch_common::guard::BlockLookup;
use pfnwatch_common::policy::{Mode, SLOTS, Snapshot, is_oversize};
use pfnwatch_common::record::{Decision, Unjudged};
use pfnwatch_common::{Geometry, KernelQuirks, Map, reservation};

use super::creation::Creation;
use super::exemption;
use crate::known_blocks;
use crate::maps::{ACTIVE, MODULE_EPOCH, POLICIES};

pub(super) struct GuardAssessment {
    /// `None` if there is nothing to report: no creation, not oversize, or the kernel itself will refuse it.
    pub(super) decision: Option<Decision>,
    pub(super) unjudged: Unjudged,
    pub(super) dataoff: u64,
    pub(super) end_trunc: u64,
    pub(super) ideal_dataoff: u64,
    pub(super) max_struct_page: u64,
    pub(super) policy: u64,
    pub(super) exemption: u64,
}

impl GuardAssessment {
    const ALLOWED: Self = Self {
        decision: None,
        unjudged: Unjudged::None,
        dataoff: 0,
        end_trunc: 0,
        ideal_dataoff: 0,
        max_struct_page: 0,
        policy: 0,
        exemption: 0,
    };

    #[inline(always)]
    fn unjudged(policy: u64, unjudged: Unjudged) -> Self {
        Self { decision: Some(Decision::Unjudged), unjudged, policy, ..Self::ALLOWED }
    }
}

#[inline(always)]
pub(super) fn assess(creation: &Creation) -> GuardAssessment {
    let policy = active();
    let Some(snapshot) = slot(policy) else { return GuardAssessment::unjudged(policy, Unjudged::NotArmed) };
    if policy == 0 || snapshot.armed == 0 {
        return GuardAssessment::unjudged(policy, Unjudged::NotArmed);
    }
    if snapshot.module_epoch != module_epoch() {
        return GuardAssessment::unjudged(policy, Unjudged::ModuleChanged);
    }
    match known_blocks::lookup(&creation.place, &creation.uuid) {
        BlockLookup::Known => return GuardAssessment::ALLOWED,
        BlockLookup::MaybeKnown => return GuardAssessment::unjudged(policy, Unjudged::BlockMissed),
        BlockLookup::Unknown => {}
    }
    let max_struct_page = snapshot.max_struct_page;
    if max_struct_page == 0 {
        return GuardAssessment::unjudged(policy, Unjudged::NoMaxStructPage);
    }
    let mut judged = assess_size(creation, snapshot, policy);
    if judged.decision.is_none() {
        return judged;
    }
    let exemption = exemption::permanent_exemption(creation, policy);
    let once = exemption == 0;
    let enforced = snapshot.mode == Mode::Enforce as u32;
    // Of `SLOTS` slots the one that was read is written to again after `SLOTS` - 1 swaps, at the earliest.
    if active().wrapping_sub(policy) >= (SLOTS - 1) as u64 {
        return GuardAssessment::unjudged(policy, Unjudged::PolicyChanged);
    }
    // A ticket is spent when all else is decided.
    judged.exemption = if once { exemption::consume(creation, policy) } else { exemption };
    judged.decision = Some(if judged.exemption != 0 {
        Decision::Exempt
    } else if enforced {
        Decision::Denied
    } else {
        Decision::WouldDeny
    });
    judged
}

#[inline(always)]
fn assess_size(creation: &Creation, snapshot: &Snapshot, policy: u64) -> GuardAssessment {
    let (start, size, align) = (creation.place.start, creation.size(), creation.align);
    let dataoff = reserved(policy, start, size, align, DATAOFF);
    let ideal_dataoff = reserved(policy, start, size, align, IDEAL_DATAOFF);
    // What the formula refuses the kernel refuses, too.
    if dataoff == REFUSED || ideal_dataoff == REFUSED {
        return GuardAssessment::ALLOWED;
    }
    let excess = dataoff.saturating_sub(ideal_dataoff);
    if !is_oversize(excess, size, align.max(snapshot.compat), snapshot.aligns, snapshot.parts_per_million) {
        return GuardAssessment::ALLOWED;
    }
    GuardAssessment {
        decision: Some(Decision::WouldDeny),
        dataoff,
        end_trunc: reserved(policy, start, size, align, END_TRUNC),
        ideal_dataoff,
        max_struct_page: snapshot.max_struct_page,
        policy,
        ..GuardAssessment::ALLOWED
    }
}

/// What [`reserved`] is asked for: what this kernel would write as dataoff, the ideal, and what it would cut off at the end.
const DATAOFF: u64 = 0;
const IDEAL_DATAOFF: u64 = 1;
const END_TRUNC: u64 = 2;
/// The formula refuses. A dataoff is never below 8 KiB, so 0 is free; END_TRUNC is asked only if there is a dataoff.
const REFUSED: u64 = 0;

/// The formula, in bytes. A global function, which the verifier checks once by its types. Inlined, the code after it would be
/// checked for each path through its branches, which took most of the load time of all programs. A global function takes
/// numbers, and at most five.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn reserved(policy: u64, start: u64, size: u64, align: u64, wanted: u64) -> u64 {
    let Some(snapshot) = slot(policy) else { return REFUSED };
    let Snapshot { page_size, compat, max_struct_page, reference_struct_page, .. } = *snapshot;
    let geometry = Geometry { start, size, align, map: Map::Dev, page_size, compat };
    let struct_page = if wanted == IDEAL_DATAOFF { reference_struct_page } else { max_struct_page };
    // A kernel that refuses what leaves nothing usable refuses it after the guard, too.
    match reservation(&geometry, struct_page, KernelQuirks { allows_empty: true }) {
        Ok(reservation) if wanted == END_TRUNC => reservation.end_trunc,
        Ok(reservation) => reservation.dataoff,
        Err(_) => REFUSED,
    }
}

#[inline(always)]
fn active() -> u64 {
    // SAFETY: the pointer is to the map's value, and a word is read whole.
    ACTIVE.get_ptr(0).map_or(0, |active| unsafe { core::ptr::read_volatile(active) })
}

#[inline(always)]
fn module_epoch() -> u64 {
    // SAFETY: as above.
    MODULE_EPOCH.get_ptr(0).map_or(u64::MAX, |epoch| unsafe { core::ptr::read_volatile(epoch) })
}

#[inline(always)]
pub(super) fn slot(policy: u64) -> Option<&'static Snapshot> {
    // The slots are a power of two, of which the lower half of the number has all the bits.
    let snapshot = POLICIES.get_ptr((policy & 0xffff_ffff) as u32 % SLOTS)?;
    // SAFETY: the map's values live as long as the program. A value that is written meanwhile is one of any integers,
    // and `judge` sees that it was.
    Some(unsafe { &*snapshot })
}
