//! The memory that the event store takes. It is alone in a process, so that nothing else is measured.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use pfnwatch::guard::info_block_cache::InfoBlockCache;
use pfnwatch::model::event::{Blind, Body, Event};
use pfnwatch::model::store::Settings;
use pfnwatch::os::memory_trim;
use pfnwatch::store::EventStore;

const EVENTS: usize = 10_000;
const MAX_KIB: u64 = 1024;

fn anonymous_kib() -> u64 {
    memory_trim::trim_heap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn events(count: usize) -> Vec<Event> {
    let body = |number| Body::Blind(Blind { reason: format!("{number} {}", "x".repeat(600)) });
    (0..count).map(|number| Event::now(body(number))).collect()
}

fn open(file: &Path) -> EventStore {
    EventStore::open(Settings { file: Some(file.to_owned()), ..Settings::default() }, pfnwatch::export::line::of)
}

#[test]
fn ten_thousand_events_take_less_than_a_mebibyte() {
    let folder = tempfile::tempdir().unwrap();
    let (file, mut blocks) = (folder.path().join("pfnwatch.db"), InfoBlockCache::default());
    let mut store = open(&file);
    for _ in 0..EVENTS / 100 {
        store.commit(&mut events(100), &mut blocks);
    }
    drop(store);
    let before = anonymous_kib();
    let mut store = open(&file);
    store.enforce_retention(&mut blocks, SystemTime::now());
    for _ in 0..100 {
        store.commit(&mut events(10), &mut blocks);
    }
    store.enforce_retention(&mut blocks, SystemTime::now());
    let after = anonymous_kib();
    let health = store.health();
    assert_eq!((health.error, usize::try_from(health.events).unwrap()), (None, EVENTS + 1000));
    let grown = after.saturating_sub(before);
    eprintln!("RssAnon {before} KiB before, {after} KiB after, file {} KiB", health.size_bytes >> 10);
    assert!(grown <= MAX_KIB, "{before} KiB became {after} KiB");
}
