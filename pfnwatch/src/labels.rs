//! Which namespaces have a label with room: what tells a namespace that is destroyed from one that is being made.
//!
//! The kernel deletes labels in both cases (drivers/nvdimm/namespace_devs.c: a uuid written to a namespace that has no
//! size yet ends in `nd_pmem_namespace_label_update` with size 0, as writing size 0 does).

use std::collections::HashSet;

use uuid::Uuid;

use crate::event::{Body, Event};

/// The namespace uuids of labels that hold room.
#[derive(Debug, Default)]
pub struct Labels(HashSet<Uuid>);

impl Labels {
    /// Begins with those that are there.
    pub fn new(there: impl IntoIterator<Item = Uuid>) -> Self {
        Self(there.into_iter().collect())
    }

    /// Learns from an event, and turns the deletion of a label that held room into what it is: a destroyed namespace.
    pub fn follow(&mut self, event: Event) -> Event {
        let body = match event.body {
            Body::Label(change) => match (change.namespace_uuid, change.size_bytes) {
                (Some(uuid), Some(0)) if self.0.remove(&uuid) => Body::Destroy(change),
                (Some(uuid), Some(1..)) => {
                    self.0.insert(uuid);
                    Body::Label(change)
                }
                _ => Body::Label(change),
            },
            other => other,
        };
        Event { body, ..event }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Change;

    fn label(uuid: u8, size_bytes: u64) -> Event {
        Event::now(Body::Label(Change {
            device: "namespace0.0".to_owned(),
            region: None,
            namespace: None,
            namespace_uuid: Some(Uuid::from_bytes([uuid; 16])),
            size_bytes: Some(size_bytes),
            incomplete: false,
            by: None,
        }))
    }

    #[test]
    fn only_what_had_room_is_destroyed() {
        let mut labels = Labels::new([Uuid::from_bytes([1; 16])]);
        let mut kinds = Vec::new();
        for (uuid, size) in [(2, 0), (2, 4096), (2, 0), (2, 0), (1, 0)] {
            kinds.push(matches!(labels.follow(label(uuid, size)).body, Body::Destroy(_)));
        }
        assert_eq!(kinds, [false, false, true, false, true]);
    }
}
