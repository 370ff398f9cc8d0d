//! What the survey says of a namespace, as an event.

use pfnwatch_common::Map;
use uuid::Uuid;

use super::judgement;
use crate::{event::Found, survey::Judged};

/// The event of a namespace that was there when observing began; none where it has no map=dev.
#[must_use]
pub fn found(judged: &Judged) -> Option<Found> {
    let Judged { namespace, facts, assessment } = judged;
    if judged.map() != Some(Map::Dev) {
        return None;
    }
    let claimer = namespace.claimer.as_ref().ok();
    let block = facts.block.as_ref();
    Some(Found {
        namespace: namespace.name.clone(),
        namespace_uuid: namespace.uuid.clone().ok().filter(|uuid| !uuid.is_nil()),
        start_address: facts.start,
        size_bytes: facts.size,
        device: claimer.map(|claimer| claimer.name.clone()),
        region: namespace.region.clone(),
        personality: judged.mode(),
        map: judged.map(),
        align_bytes: facts.align.or_else(|| block.map(|block| block.align)),
        block_uuid: block
            .map(|block| Uuid::from_bytes(block.uuid))
            .or_else(|| claimer.and_then(|claimer| claimer.uuid.clone().ok())),
        enabled: facts.enabled,
        reservation_bytes: assessment.numbers.reservation,
        usable_bytes: assessment.numbers.usable,
        page_struct_size_bytes: block.map(|block| block.page_struct_size.into()),
        judgement: judgement(assessment.clone()),
    })
}
