//! A writer that commits events and prints them is killed repeatedly: whatever it printed is in the store, once.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use std::{env, thread};

use pfnwatch::export::event_log::{Log, LogFormat};
use pfnwatch::guard::info_block_cache::InfoBlockCache;
use pfnwatch::model::event::{Blind, Body, Event};
use pfnwatch::model::store::Settings;
use pfnwatch::store::{EventFilter, EventStore, Reader};
use serde_json::Value;

const KILLS: u32 = 60;
/// In the environment of the writer, which is this same program: the event store's file.
const FILE: &str = "PFNWATCH_KILLED_WRITER";

/// Commits and prints batch after batch, until it is killed.
#[test]
#[ignore = "the other half of the test below, which starts it"]
fn writer() {
    // Started by hand with all that is ignored, it has nothing to do.
    let Some(file) = env::var_os(FILE) else { return };
    let mut store = EventStore::open(
        Settings { file: Some(PathBuf::from(file)), ..Settings::default() },
        pfnwatch::export::line::of,
    );
    let mut log = Log::new(LogFormat::Json, io::stdout());
    for size in (1..=7).cycle() {
        let body = |number| Body::Blind(Blind { reason: format!("{number} of {size} {}", "x".repeat(300)) });
        let mut events: Vec<_> = (0..size).map(|number| Event::now(body(number))).collect();
        store.commit(&mut events, &mut InfoBlockCache::default());
        for event in &events {
            log.write(event).unwrap();
        }
    }
}

#[test]
fn what_was_told_before_a_kill_is_in_the_event_store_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pfnwatch.db");
    let mut reported: BTreeMap<u64, Value> = BTreeMap::new();
    for _ in 0..KILLS {
        let mut writer = Command::new(env::current_exe().unwrap());
        writer.args(["--ignored", "--exact", "writer", "--nocapture"]).env(FILE, &file).stdout(Stdio::piped());
        let mut child = writer.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let reading = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        // From before the file is open to the midst of a commit: the clock's last digits are random enough.
        let odd = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos() / 100;
        thread::sleep(Duration::from_micros(u64::from(odd % 60_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let text = reading.join().unwrap().unwrap();
        // Of the last line there may be a part.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            // What else is there is the test harness's.
            let Some(Ok(event)) = line.find("{\"schema\"").map(|at| serde_json::from_str::<Value>(&line[at..])) else {
                continue;
            };
            assert_eq!(event.get("uncommitted"), None, "{event}");
            let number = event["id"].as_u64().unwrap();
            assert!(reported.insert(number, event).is_none(), "number {number} was reported twice");
        }
    }
    assert!(reported.len() > 100, "{} events are no stream", reported.len());
    let entries = Reader::open(&file).unwrap().last(&EventFilter::default(), u32::MAX).unwrap();
    let written: BTreeMap<_, Value> =
        entries.iter().map(|entry| (entry.id, serde_json::from_str(&entry.json).unwrap())).collect();
    assert_eq!(written.len(), entries.len(), "a number was given twice");
    for (number, event) in &reported {
        assert_eq!(written.get(number), Some(event));
    }
    eprintln!("{KILLS} kills, {} events reported, {} written", reported.len(), written.len());
}
