//! The namespaces that exist already when the programs are attached.

use uuid::Uuid;

use crate::model::bounded::BoundedMap;
use crate::model::event::{Body, Event, ExistingNamespace, NamespaceId};
use crate::model::scan_result::AssessedNamespace;

/// So many reported blocks are remembered. A namespace whose block was evicted is reported again.
const MAX_REPORTED: usize = 4096;

/// The info blocks that were reported: by the namespace's start address and the block's uuid.
#[derive(Debug, Default)]
pub(super) struct ReportedBlocks(BoundedMap<(u64, Uuid), (), MAX_REPORTED>);

impl ReportedBlocks {
    /// Records the block that an event reports.
    pub(super) fn follow(&mut self, event: &Event) {
        if let Body::SetUp(setup) = &event.body
            && let (Some(namespace), Some(uuid)) = (&setup.namespace, setup.block_uuid)
        {
            self.0.insert((namespace.start_address, uuid), ());
        }
    }

    /// Records the block of an existing namespace. Returns whether that is news; without a known block it always is.
    pub(super) fn insert(&mut self, existing: &ExistingNamespace) -> bool {
        self.insert_block(existing.start_address.zip(existing.block_uuid))
    }

    fn insert_block(&mut self, block: Option<(u64, Uuid)>) -> bool {
        block.is_none_or(|block| self.0.insert(block, ()).is_none())
    }

    /// How many were evicted because there were too many.
    pub(super) const fn evicted(&self) -> u64 {
        self.0.evicted()
    }
}

/// The namespace as the cache of info blocks identifies it, if its place is known.
pub(super) fn namespace_id(assessed: &AssessedNamespace) -> Option<NamespaceId> {
    let namespace = &assessed.namespace;
    Some(NamespaceId {
        namespace: namespace.name.clone(),
        namespace_uuid: namespace.uuid.clone().ok().filter(|uuid| !uuid.is_nil()),
        start_address: namespace.resource.clone().ok()?,
        size_bytes: namespace.size.clone().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reported_blocks_are_forgotten_above_the_limit() {
        let mut reported = ReportedBlocks::default();
        let mut is_news = |number: usize| {
            let uuid = Uuid::from_u128(u128::try_from(number).unwrap());
            reported.insert_block(Some((4 << 30, uuid)))
        };
        assert!((0..=MAX_REPORTED).all(&mut is_news));
        assert!(!is_news(MAX_REPORTED) && is_news(0), "0 was evicted");
        assert_eq!(reported.evicted(), 2);
    }
}
