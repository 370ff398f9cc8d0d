//! The built binary and the event store of an earlier version: what the commands print of it before and after an agent has
//! migrated it.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]

#[path = "support/schema.rs"]
mod schema;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pfnwatch::agent::alert_store::restore;
use pfnwatch::export::alerts::{Dispatcher, FiringAlerts};
use pfnwatch::model::event::Body;
use pfnwatch::model::store::Settings;
use pfnwatch::store::EventStore;
use serde_json::Value;

/// Written by the code of schema 2, with every kind of event.
const OLD: &[u8] = include_bytes!("fixtures/schema-2.db");

fn open(file: &Path) -> EventStore {
    EventStore::open(Settings { file: Some(file.to_owned()), ..Settings::default() }, pfnwatch::export::line::of)
}

/// What a command prints.
fn output(file: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pfnwatch"));
    let output = command.args(arguments).arg("--store").arg(file).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_migrated_event_has_the_published_schema() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pfnwatch.db");
    fs::write(&file, OLD).unwrap();
    let arguments = ["events", "--format", "json"];
    let of_old_file = output(&file, &arguments);
    assert_eq!(fs::read(&file).unwrap(), OLD, "a command writes nothing");
    assert_eq!(open(&file).health().error, None);
    assert_ne!(fs::read(&file).unwrap(), OLD);
    assert_eq!(output(&file, &arguments), of_old_file);
    let events: Vec<Value> = of_old_file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in &events {
        schema::check_event(event).unwrap();
    }
    let kinds: BTreeSet<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    // Schema 2 did not have these kinds.
    let later =
        ["memmap_not_returned", "device_appeared", "device_changed", "device_disappeared", "memory_left_online"];
    let expected = Body::KINDS.iter().copied().filter(|kind| !later.contains(kind));
    assert_eq!(kinds, expected.collect());
    let ids: Vec<_> = events.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    let expected: Vec<_> = (1..=46).filter(|id| *id != 3).collect();
    assert_eq!(ids, expected);
    let restored = output(&file, &["events", "restore-block", "namespace0.2", "--format", "json"]);
    schema::check("events-restore-block", &serde_json::from_str(&restored).unwrap()).unwrap();
}

#[test]
fn alerts_and_messages_of_the_earlier_version_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pfnwatch.db");
    fs::write(&file, OLD).unwrap();
    let (mut store, mut alerts, mut dispatcher) = (open(&file), FiringAlerts::default(), Dispatcher::default());
    assert!(restore(&mut store, &mut alerts, &mut dispatcher, Duration::ZERO));
    // Those of the file, by the identity that their receivers know.
    let fingerprints: Vec<_> = alerts.iter().map(|(fingerprint, _)| fingerprint.as_str()).collect();
    assert_eq!(fingerprints, ["21edf63b2581cdde", "b1ec00b6de485f4d", "e28f08ab5e7ff251"]);
    assert!(alerts.iter().all(|(_, alert)| alert.sent_to.len() == 2));
    assert_eq!(dispatcher.outbox_mut().iter().count(), 6);
}
