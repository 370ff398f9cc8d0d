//! The record of what the guard made of a creation.

use pfnwatch_common::record::{CaptureFlags, Decision, Judgement, Personality, Unjudged, variant};
use pfnwatch_common::reservation::REGRESSED_STRUCT_PAGE;
use pfnwatch_common::{Map, superblock};

use super::{DecodeError, actor, namespace_of, text, uuid};
use crate::model::event::{Body, ExemptionUsed, GuardDecision, UnjudgedReason};
use crate::model::verdict::Cause;

pub(super) fn judgement(record: &Judgement) -> Result<Body, DecodeError> {
    let decision = variant::<Decision>(record.decision).ok_or(DecodeError::UnknownDecision(record.decision))?;
    let why = variant::<Unjudged>(record.unjudged).ok_or(DecodeError::UnknownReason(record.unjudged))?;
    let judged = Box::new(judged(record, why)?);
    Ok(match decision {
        Decision::Denied => Body::Denied(judged),
        Decision::WouldDeny => Body::WouldDeny(judged),
        Decision::Exempt => Body::Exempt(judged),
        Decision::Unjudged => Body::Unjudged(judged),
    })
}

fn judged(record: &Judgement, why: Unjudged) -> Result<GuardDecision, DecodeError> {
    let personality = match Personality::from_u32(record.personality) {
        Personality::Pfn => superblock::SuperblockKind::Pfn,
        Personality::Dax => superblock::SuperblockKind::Dax,
        _ => return Err(DecodeError::NotGuarded(record.personality)),
    };
    // Nothing is reserved without the 8 KiB at the start: 0 is "not computed".
    let computed = |bytes: u64| (record.dataoff != 0).then_some(bytes);
    let excess = computed(record.dataoff.saturating_sub(record.ideal_dataoff));
    let cause = cause(excess, record.max_struct_page);
    Ok(GuardDecision {
        device: text(&record.device).unwrap_or_default(),
        region: text(&record.region),
        namespace: namespace_of(
            record.seen,
            &record.namespace,
            record.namespace_uuid,
            record.namespace_start,
            record.namespace_end,
        ),
        personality,
        map: Some(Map::Dev),
        align_bytes: record.align,
        block_uuid: uuid(record.seen, CaptureFlags::DEVICE_UUID, record.device_uuid),
        reservation_bytes: computed(record.dataoff),
        end_trunc_bytes: computed(record.end_trunc),
        ideal_bytes: computed(record.ideal_dataoff),
        excess_bytes: excess,
        max_struct_page_size_bytes: Some(record.max_struct_page).filter(|bytes| *bytes != 0),
        cause,
        class: cause.class(),
        reason: describe(why),
        exemption: (record.exemption != 0).then_some(ExemptionUsed {
            id: record.exemption,
            subject: None,
            reason: None,
        }),
        policy: record.policy,
        incomplete: record.seen.has(CaptureFlags::FAULT),
        by: actor(&record.task),
        detail: String::new(),
        remedies: Vec::new(),
        replaced: None,
    })
}

/// The guard's prediction has one cause: the number of bytes for each page.
const fn cause(excess: Option<u64>, max_struct_page: u64) -> Cause {
    match (excess, max_struct_page) {
        (None | Some(0), _) => Cause::None,
        (_, REGRESSED_STRUCT_PAGE) => Cause::RegressedKernel,
        _ => Cause::WideStructPage,
    }
}

const fn describe(why: Unjudged) -> Option<UnjudgedReason> {
    match why {
        Unjudged::None => None,
        Unjudged::NotArmed => Some(UnjudgedReason::NotArmed),
        Unjudged::ModuleChanged => Some(UnjudgedReason::ModuleChanged),
        Unjudged::NoMaxStructPage => Some(UnjudgedReason::NoMaxStructPage),
        Unjudged::PolicyChanged => Some(UnjudgedReason::PolicyChanged),
        Unjudged::BlockMissed => Some(UnjudgedReason::BlockMissed),
    }
}
