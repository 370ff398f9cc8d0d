//! Which namespaces have a label with a size: distinguishes the destruction of a namespace from its creation.
//!
//! The kernel deletes labels in both cases (drivers/nvdimm/namespace_devs.c: a uuid written to a namespace that has no
//! size yet ends in `nd_pmem_namespace_label_update` with size 0, as writing size 0 does).

use uuid::Uuid;

use crate::model::bounded::BoundedMap;
use crate::model::event::{Body, Event, Time};

/// So many labels are remembered. The destruction of a namespace whose label was evicted is reported as a label that is
/// written, with size 0.
const MAX_LABELS: usize = 4096;

/// A label with a size.
#[derive(Clone, Debug)]
struct KnownLabel {
    /// When it was last seen to have a size.
    seen: Time,
    /// The size in bytes and the name that were written last; `None` if nobody saw that.
    written: Option<(u64, Option<String>)>,
}

/// The labels with a size, by namespace uuid.
#[derive(Debug, Default)]
pub struct LabelTracker {
    labels: BoundedMap<Uuid, KnownLabel, MAX_LABELS>,
    /// Since when labels are followed without a gap.
    since: Option<Time>,
}

/// Whether an event is worth a line: a label that changes neither size nor name is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Yes,
    No,
}

impl LabelTracker {
    /// Starts again with the namespaces that exist at this time. Events from before are creations of them that a guard
    /// without an agent recorded.
    pub fn restart(&mut self, there: impl IntoIterator<Item = Uuid>, at: Time) {
        self.labels.clear();
        self.since = Some(at);
        for uuid in there {
            self.labels.insert(uuid, KnownLabel { seen: at, written: None });
        }
    }

    /// How many labels were evicted because there were too many.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.labels.evicted()
    }

    /// Tracks labels by an event, and turns the deletion of a label with a size into a destroyed namespace. A bound
    /// namespace has a label as well: libnvdimm may find namespaces after the initial scan.
    pub fn follow(&mut self, event: Event) -> (Event, News) {
        if let Some(uuid) = enabled_namespace(&event.body) {
            let known = self.labels.get(&uuid).cloned();
            self.labels.insert(uuid, known.unwrap_or(KnownLabel { seen: event.time, written: None }));
        }
        let Body::Label(change) = event.body else { return (event, News::Yes) };
        let (body, news) = match (change.namespace_uuid, change.size_bytes) {
            (Some(uuid), Some(0)) if self.had_room(uuid, event.time) => {
                self.labels.remove(&uuid);
                (Body::Destroy(change), News::Yes)
            }
            // A new namespace has a uuid and a name before it has room.
            (_, Some(0)) if self.misses_nothing(event.time) => (Body::Label(change), News::No),
            (Some(uuid), Some(size @ 1..)) => {
                let written = Some((size, change.label_name.clone()));
                let before = self.labels.insert(uuid, KnownLabel { seen: event.time, written: written.clone() });
                let is_same = before.is_some_and(|before| before.written == written);
                (Body::Label(change), if is_same { News::No } else { News::Yes })
            }
            _ => (Body::Label(change), News::Yes),
        };
        (Event { body, ..event }, news)
    }

    fn had_room(&self, uuid: Uuid, at: Time) -> bool {
        self.labels.get(&uuid).is_some_and(|label| label.seen <= at)
    }

    /// Whether a label that is not known had no size: else it may have been evicted, or deleted while no agent ran.
    fn misses_nothing(&self, at: Time) -> bool {
        self.labels.evicted() == 0 && self.since.is_none_or(|since| since <= at)
    }
}

fn enabled_namespace(body: &Body) -> Option<Uuid> {
    let namespace = match body {
        Body::SetUp(set_up) => set_up.namespace.as_ref(),
        Body::Probe(probe) => probe.namespace.as_ref(),
        _ => None,
    };
    namespace.filter(|namespace| namespace.size_bytes > 0)?.namespace_uuid
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::model::event::{Attempt, NamespaceChange, NamespaceId, Probe, ProbeResult};

    fn label_event(uuid: u8, size_bytes: u64) -> Event {
        at(UNIX_EPOCH, uuid, size_bytes)
    }

    fn at(time: SystemTime, uuid: u8, size_bytes: u64) -> Event {
        Event::at(
            Time(time),
            Body::Label(NamespaceChange {
                device: "namespace0.0".to_owned(),
                region: None,
                namespace: None,
                namespace_uuid: Some(Uuid::from_bytes([uuid; 16])),
                size_bytes: Some(size_bytes),
                label_name: None,
                incomplete: false,
                by: None,
            }),
        )
    }

    /// What `ndctl create-namespace --name=data` writes, a rename, a resize, and another write of the same.
    #[test]
    fn one_creation_is_one_line() {
        let mut labels = LabelTracker::default();
        labels.restart([], Time(UNIX_EPOCH));
        let mut news = |size, name: &str| {
            let mut event = label_event(3, size);
            if let Body::Label(change) = &mut event.body {
                change.label_name = Some(name.to_owned()).filter(|name| !name.is_empty());
            }
            labels.follow(event).1 == News::Yes
        };
        let creation = [(0, ""), (0, "data"), (4096, "data"), (4096, "data"), (4096, "data")];
        assert_eq!(creation.map(|(size, name)| news(size, name)), [false, false, true, false, false]);
        assert_eq!(
            [(4096, "logs"), (8192, "logs"), (8192, "logs")].map(|(size, name)| news(size, name)),
            [true, true, false]
        );
        assert!(news(0, "logs"), "destroyed");
        // What may have been deleted while no agent ran, or was evicted, is reported.
        let mut gap = LabelTracker::default();
        gap.restart([], Time(UNIX_EPOCH + Duration::from_secs(10)));
        assert_eq!(gap.follow(label_event(5, 0)).1, News::Yes);
    }

    #[test]
    fn only_what_had_room_is_destroyed() {
        let mut labels = LabelTracker::default();
        labels.restart([Uuid::from_bytes([1; 16])], Time(UNIX_EPOCH));
        let mut kinds = Vec::new();
        for (uuid, size) in [(2, 0), (2, 4096), (2, 0), (2, 0), (1, 0)] {
            kinds.push(matches!(labels.follow(label_event(uuid, size)).0.body, Body::Destroy(_)));
        }
        assert_eq!(kinds, [false, false, true, false, true]);
    }

    #[test]
    fn what_comes_up_after_the_look_has_room() {
        let probe = |size_bytes| Probe {
            attempt: Attempt {
                device: "namespace0.0".to_owned(),
                region: None,
                driver: None,
                bind_code: Some(-6),
                duration_us: 0,
                by: None,
                incomplete: false,
            },
            namespace: Some(NamespaceId {
                namespace: "namespace0.0".to_owned(),
                namespace_uuid: Some(Uuid::from_bytes([1; 16])),
                start_address: 0,
                size_bytes,
            }),
            result: ProbeResult::PassedOn,
            found_block: None,
            meaning: String::new(),
        };
        let mut labels = LabelTracker::default();
        for (size_bytes, destroyed) in [(0, false), (4096, true)] {
            labels.follow(Event::at(Time(UNIX_EPOCH), Body::Probe(Box::new(probe(size_bytes)))));
            assert_eq!(matches!(labels.follow(label_event(1, 0)).0.body, Body::Destroy(_)), destroyed);
        }
    }

    #[test]
    fn labels_are_forgotten_above_the_limit_and_that_is_counted() {
        let mut labels = LabelTracker::default();
        let uuid = |number: usize| Uuid::from_u128(u128::try_from(number).unwrap());
        labels.restart((0..MAX_LABELS).map(uuid), Time(UNIX_EPOCH));
        assert_eq!(labels.evicted(), 0);
        labels.follow(label_event(0xff, 4096));
        assert_eq!((labels.labels.get(&uuid(0)).is_none(), labels.evicted()), (true, 1));
        assert!(matches!(labels.follow(label_event(0xff, 0)).0.body, Body::Destroy(_)), "the last is remembered");
    }

    #[test]
    fn what_was_made_before_it_was_seen_to_be_there_was_not_destroyed() {
        let seconds = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut labels = LabelTracker::default();
        labels.restart([Uuid::from_bytes([1; 16])], Time(seconds(10)));
        let mut destroyed = |time, size| matches!(labels.follow(at(seconds(time), 1, size)).0.body, Body::Destroy(_));
        assert!(!destroyed(1, 0) && !destroyed(2, 4096));
        assert!(destroyed(11, 0));
    }
}
