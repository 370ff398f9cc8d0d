//! What was there already when observing began.

use std::io::Write;

use super::Pipeline;
use crate::{
    event::{Body, Event, Found, Judgement},
    inventory::Inventory,
    survey::{EnabledBlocks, Judged, Survey, info_blocks},
};
use pfnwatch_common::Map;

impl<W: Write> Pipeline<W> {
    /// Tells of each enabled namespace with map=dev that no event was seen of.
    pub(super) fn tell_what_is_there(&mut self, inventory: Inventory) -> anyhow::Result<()> {
        let (blocks, problem) = info_blocks(&self.options.paths, &inventory, EnabledBlocks::Read);
        if let Some(problem) = problem {
            tracing::warn!("info blocks of enabled namespaces cannot be read: {problem}");
        }
        let survey = Survey::judge(inventory, &blocks, self.facts.clone(), &self.guard.policy().thresholds);
        for judged in &survey.namespaces {
            let Some(found) = found(judged) else { continue };
            let block = found.start_address.zip(found.block_uuid);
            if block.is_none_or(|block| self.met.insert(block)) {
                self.emit(Event::now(Body::Found(found)))?;
            }
        }
        Ok(())
    }

    /// Takes note of a block that an event was seen of.
    pub(super) fn note_block(&mut self, event: &Event) {
        if let Body::SetUp(setup) = &event.body
            && let (Some(namespace), Some(uuid)) = (&setup.namespace, setup.block_uuid)
        {
            self.met.insert((namespace.start_address, uuid));
        }
    }
}

/// The event, where the namespace is enabled with map=dev.
fn found(judged: &Judged) -> Option<Found> {
    let Judged { namespace, facts, assessment } = judged;
    let claimer = namespace.claimer.as_ref().ok().filter(|claimer| claimer.enabled())?;
    if judged.map() != Some(Map::Dev) {
        return None;
    }
    let numbers = &assessment.numbers;
    Some(Found {
        namespace: namespace.name.clone(),
        namespace_uuid: namespace.uuid.clone().ok(),
        start_address: namespace.resource.clone().ok(),
        size_bytes: namespace.size.clone().ok(),
        device: Some(claimer.name.clone()),
        region: namespace.region.clone(),
        personality: judged.mode(),
        map: judged.map(),
        align_bytes: claimer.align.clone().ok(),
        block_uuid: claimer.uuid.clone().ok(),
        enabled: true,
        reservation_bytes: numbers.reservation,
        usable_bytes: numbers.usable,
        page_struct_size_bytes: facts.block.as_ref().map(|block| block.page_struct_size.into()),
        judgement: Judgement::from(assessment),
    })
}
