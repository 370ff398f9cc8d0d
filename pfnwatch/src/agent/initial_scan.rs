//! What was there already when observing began.

use std::{io::Write, time::SystemTime};

use super::Agent;
use crate::{
    model::{
        event::{self, Body, Event, Time},
        inventory::{InfoBlocks, Inventory},
        survey::{AssessedNamespace, ScanResult},
    },
    scan::existing,
    scan::{EnabledBlocks, info_blocks},
};

impl<W: Write> Agent<W> {
    /// Tells of each enabled namespace with map=dev that no event was seen of.
    pub(super) fn report_existing_namespaces(&mut self, inventory: Inventory) -> anyhow::Result<()> {
        for namespace in &inventory.namespaces {
            if let (Ok(start), Ok(uuid)) = (&namespace.resource, &namespace.uuid) {
                self.info_blocks.mark_replaced(*start, *uuid);
            }
        }
        let layout = self.sensor.as_ref().map(|observation| observation.layout);
        let enabled = layout.map_or(EnabledBlocks::Read, EnabledBlocks::ReadBy);
        let (blocks, problem) = info_blocks(&self.options.paths, &inventory, enabled);
        if let Some(problem) = problem {
            tracing::warn!("info blocks of enabled namespaces cannot be read: {problem}");
        }
        let survey = ScanResult::assess(inventory, &blocks, self.facts.clone(), &self.guard.policy().thresholds);
        for judged in &survey.namespaces {
            self.save_block(judged, &blocks);
            let Some(found) = existing::existing_namespace(judged) else { continue };
            let block = found.start_address.zip(found.block_uuid);
            if block.is_none_or(|block| self.known_blocks.insert(block)) {
                self.emit(Event::now(Body::ExistingNamespace(Box::new(found))))?;
            }
        }
        self.compare_all(&survey)
    }

    /// Keeps the block of a namespace, so that it can be put back.
    fn save_block(&mut self, judged: &AssessedNamespace, blocks: &InfoBlocks) {
        let namespace = &judged.namespace;
        let (Some(block), Ok(start), Ok(size)) =
            (blocks.raw(&namespace.name), namespace.resource.clone(), namespace.size.clone())
        else {
            return;
        };
        let known = event::NamespaceId {
            namespace: namespace.name.clone(),
            namespace_uuid: namespace.uuid.clone().ok().filter(|uuid| !uuid.is_nil()),
            start_address: start,
            size_bytes: size,
        };
        self.info_blocks.read(&known, block, Time(SystemTime::now()));
    }

    /// Takes note of a block that an event was seen of.
    pub(super) fn remember_block(&mut self, event: &Event) {
        if let Body::SetUp(setup) = &event.body
            && let (Some(namespace), Some(uuid)) = (&setup.namespace, setup.block_uuid)
        {
            self.known_blocks.insert((namespace.start_address, uuid));
        }
    }
}
