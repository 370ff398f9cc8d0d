//! The namespaces that exist already when the programs are attached.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::model::{
    event::{Body, Event, ExistingNamespace, NamespaceId},
    scan_result::AssessedNamespace,
};

/// The info blocks that were reported: by the namespace's start address and the block's uuid.
#[derive(Debug, Default)]
pub(super) struct ReportedBlocks(BTreeSet<(u64, Uuid)>);

impl ReportedBlocks {
    /// Records the block that an event reports.
    pub(super) fn follow(&mut self, event: &Event) {
        if let Body::SetUp(setup) = &event.body
            && let (Some(namespace), Some(uuid)) = (&setup.namespace, setup.block_uuid)
        {
            self.0.insert((namespace.start_address, uuid));
        }
    }

    /// Records the block of an existing namespace. Returns whether that is news; without a known block it always is.
    pub(super) fn insert(&mut self, existing: &ExistingNamespace) -> bool {
        let block = existing.start_address.zip(existing.block_uuid);
        block.is_none_or(|block| self.0.insert(block))
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
