//! With real files.

use crate::model::store::{Settings, UnsavedBlocks};
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::model::event::{Blind, BlockOrigin, Body, Event, NamespaceId, Time};
use crate::model::info_block::SavedInfoBlock;
use crate::testing::events::{block, context, decode, denial};

mod commits;
mod migration;
mod retention;
mod rows;
mod trouble;

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
