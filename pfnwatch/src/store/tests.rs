//! With real files.

mod commits;
mod migration;
mod rows;
mod trouble;

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::model::event::{Blind, BlockOrigin, Body, Event, NamespaceId, Time};
use crate::model::info_block::SavedInfoBlock;
use crate::model::store::{Settings, UnsavedBlocks};
use crate::testing::events::{block, context, decode, denial};

/// A line for people. The store saves any line.
fn render(event: &Event) -> String {
    let what = match &event.body {
        Body::Blind(blind) => blind.reason.clone(),
        body => serde_json::to_string(body).unwrap(),
    };
    format!("{} {} {what}", event.time, event.body.kind())
}

/// A folder, and the settings for a store in it.
fn place() -> (TempDir, Settings) {
    let folder = TempDir::new().unwrap();
    let file = Some(folder.path().join("deep/pfnwatch.db"));
    (folder, Settings { file, ..Settings::default() })
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn blind(reason: &str) -> Event {
    Event::now(Body::Blind(Blind { reason: reason.to_owned() }))
}

/// What the guard denied on this namespace.
fn denied(namespace: &str) -> Event {
    let mut event = decode(zerocopy::IntoBytes::as_bytes(&denial()), &context()).unwrap();
    let decision = event.guard_decision_mut().unwrap();
    decision.namespace.as_mut().unwrap().namespace = namespace.to_owned();
    event
}

/// Info blocks in memory, as the agent's cache has them.
#[derive(Default)]
struct Blocks {
    all: Vec<SavedInfoBlock>,
    unsaved: bool,
}

impl UnsavedBlocks for Blocks {
    fn dirty(&self) -> impl Iterator<Item = &SavedInfoBlock> {
        self.all.iter().filter(|_| self.unsaved)
    }

    fn mark_saved(&mut self) {
        self.unsaved = false;
    }

    fn mark_all_dirty(&mut self) {
        self.unsaved = true;
    }
}

/// A namespace's block that the store does not have yet.
fn saved_blocks() -> Blocks {
    saved_block_of(5)
}

fn saved_block_of(uuid: u8) -> Blocks {
    let namespace = NamespaceId {
        namespace: "namespace0.0".to_owned(),
        namespace_uuid: Some(Uuid::from_bytes([9; 16])),
        start_address: 4 << 30,
        size_bytes: 1 << 30,
    };
    let block = pfnwatch_common::InfoBlock { uuid: [uuid; 16], parent_uuid: [9; 16], ..block() };

    let block = SavedInfoBlock::new(namespace, Box::new(block.encode()), BlockOrigin::Read, Time(at(50))).unwrap();
    Blocks { all: vec![block], unsaved: true }
}

/// Commits events, and returns them as they are published.
fn commit(store: &mut EventStore, mut events: Vec<Event>) -> Vec<Event> {
    store.commit(&mut events, &mut Blocks::default());
    events
}

fn numbers(events: &[Event]) -> Vec<Option<u64>> {
    events.iter().map(|event| event.id).collect()
}

/// All that is in the file, by a connection of its own.
fn entries(settings: &Settings) -> Vec<StoredEvent> {
    Reader::open(settings.file.as_deref().unwrap()).unwrap().last(&EventFilter::default(), u32::MAX).unwrap()
}

fn ids(settings: &Settings) -> Vec<u64> {
    entries(settings).iter().map(|entry| entry.id).collect()
}

/// The file, to change it as another program would.
fn raw(settings: &Settings) -> Connection {
    Connection::open(settings.file.as_ref().unwrap()).unwrap()
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn many(count: usize, ago: Duration, length: usize) -> Vec<Event> {
    let time = Time(SystemTime::now() - ago);
    let body = |number| Body::Blind(Blind { reason: format!("{number} {}", "x".repeat(length)) });
    (0..count).map(|number| Event::at(time, body(number))).collect()
}

#[test]
fn what_is_too_old_goes_but_for_denials_and_the_last_thousand() {
    let (_folder, settings) = place();
    let settings = Settings { max_age: 10 * DAY, ..settings };
    let mut store = EventStore::open(settings.clone(), render);
    let mut old = denied("namespace0.0");
    old.time = Time(SystemTime::now() - 20 * DAY);
    commit(&mut store, vec![old]);
    commit(&mut store, many(1200, 20 * DAY, 1));
    commit(&mut store, many(500, DAY, 1));
    store.commit(&mut [], &mut saved_blocks());
    store.enforce_retention(&mut Blocks::default(), SystemTime::now());
    let ids = ids(&settings);
    // The denial, 500 old ones that are among the last 1,000, and the 500 new ones.
    assert_eq!((ids.len(), ids[0], ids[1]), (1001, 1, 702));
    assert_eq!((store.health().events, store.blocks().unwrap().len()), (1001, 1));
    commit(&mut store, many(2000, 20 * DAY, 1));
    store.enforce_retention(&mut Blocks::default(), SystemTime::now());
    assert_eq!(store.health().events, 3001, "once an hour is enough");
    store.enforce_retention(&mut Blocks::default(), SystemTime::now() + Duration::from_secs(3600));
    // The denial, the 500 that are a day old, and the last 1,000.
    assert_eq!(store.health().events, 1501);
}

#[test]
fn a_file_that_is_too_large_becomes_smaller() {
    let (_folder, settings) = place();
    let settings = Settings { max_size_bytes: 2 << 20, ..settings };
    let mut store = EventStore::open(settings.clone(), render);
    commit(&mut store, vec![denied("namespace0.0")]);
    for _ in 0..8 {
        commit(&mut store, many(500, Duration::ZERO, 500));
    }
    store.commit(&mut [], &mut saved_blocks());
    assert!(store.health().size_bytes > 4 << 20);
    store.enforce_retention(&mut Blocks::default(), SystemTime::now());
    let health = store.health();
    assert!(health.size_bytes <= 2 << 20, "{health:?}");
    let ids = ids(&settings);
    assert_eq!((ids[0], *ids.last().unwrap(), health.events), (1, 4001, ids.len().try_into().unwrap()));
    assert!(ids.len() > 500, "no more goes than must: {}", ids.len());
    assert_eq!(store.blocks().unwrap().len(), 1, "info blocks stay");
}
