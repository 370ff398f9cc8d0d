//! The built binary and an event store: what `pfnwatch events` prints of it, while it is written to and when nobody does.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]

#[path = "support/command.rs"]
mod command;
#[path = "support/schema.rs"]
mod schema;

use pfnwatch::model::store::UnsavedBlocks as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use command::{Ran, pfnwatch};
use pfnwatch::guard::info_block_cache::InfoBlockCache;
use pfnwatch::model::event::{Blind, BlockOrigin, Body, Event, NamespaceChange, NamespaceId, Time};
use pfnwatch::model::info_block::SavedInfoBlock;
use pfnwatch::model::store::Settings;
use pfnwatch::store::EventStore;
use pfnwatch_common::InfoBlock;
use serde_json::Value;
use tempfile::TempDir;

const UUID: &str = "5a1e0bb4-6d51-4e4b-9f0c-2f3f0d8f9a11";

struct Host {
    folder: TempDir,
    store: EventStore,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EventStore::open(
            Settings { file: Some(folder.path().join("pfnwatch.db")), ..Settings::default() },
            pfnwatch::export::line::of,
        );
        Self { folder, store }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("pfnwatch.db")
    }

    fn record(&mut self, ago: Duration, body: Body) {
        self.store.commit(&mut [Event::at(Time(SystemTime::now() - ago), body)], &mut InfoBlockCache::default());
        assert_eq!(self.store.health().error, None);
    }

    fn with_events() -> Self {
        let mut host = Self::new();
        for hours in [30, 20, 10] {
            host.record(Duration::from_secs(hours * 3600), blind(&format!("reason {hours}")));
        }
        let change = NamespaceChange {
            device: "namespace0.0".to_owned(),
            region: None,
            namespace: None,
            namespace_uuid: Some(UUID.parse().unwrap()),
            size_bytes: None,
            label_name: None,
            incomplete: false,
            by: None,
        };
        host.record(Duration::ZERO, Body::Destroy(change));
        host
    }

    fn events(&self, arguments: &[&str]) -> Ran {
        run(&self.file(), arguments)
    }
}

fn blind(reason: &str) -> Body {
    Body::Blind(Blind { reason: reason.to_owned() })
}

fn events(file: &Path, arguments: &[&str]) -> Command {
    let mut command = pfnwatch();
    command.arg("events").args(arguments).arg("--store").arg(file);
    command
}

fn run(file: &Path, arguments: &[&str]) -> Ran {
    Ran::of(&[&["events"], arguments].concat(), events(file, arguments).output().unwrap())
}

fn lines(output: &Ran) -> Vec<&str> {
    assert_eq!(output.code, 0, "{}", output.error);
    output.text.lines().collect()
}

#[test]
fn events_are_printed_as_run_prints_them() {
    let host = Host::with_events();
    let output = host.events(&[]);
    let all = lines(&output);
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(all[0].ends_with("Z BLIND    reason 30") && all[3].contains("destroy"), "{all:?}");
    let output = host.events(&["--limit", "1", "--format", "json"]);
    let last: Value = serde_json::from_str(lines(&output)[0]).unwrap();
    assert_eq!((&last["event"], &last["id"]), (&"destroy".into(), &4.into()));
    assert_eq!(last.get("uncommitted"), None);
    assert!(output.error.contains("3 older ones are in the event store"), "{}", output.error);
}

#[test]
fn events_are_picked_out() {
    let host = Host::with_events();
    for (arguments, expected) in [
        (&["--since", "21h"][..], 3),
        (&["--since", "2020-01-01T00:00:00Z"], 4),
        (&["--kind", "blind"], 3),
        (&["--kind", "blind", "--kind", "destroy"], 4),
        (&["--kind", "blin"], 0),
        (&["--kind", "blind", "--since", "15h"], 1),
        (&["--namespace", "namespace0.0"], 1),
        (&["--namespace", UUID], 1),
        (&["--denied"], 0),
    ] {
        let output = host.events(arguments);
        assert_eq!(lines(&output).len(), expected, "{arguments:?}");
        assert_eq!(output.error.contains("no such event"), expected == 0, "{arguments:?}");
    }
}

#[test]
fn what_comes_is_followed() {
    let mut host = Host::with_events();
    let mut child = events(&host.file(), &["--follow", "--limit", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().contains("destroy"));
    host.record(Duration::ZERO, blind("one more"));
    host.record(Duration::ZERO, blind("another"));
    assert!(next().ends_with("one more") && next().ends_with("another"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_event_store_that_cannot_be_read_is_named_with_the_reason() {
    let host = Host::with_events();
    let folder = tempfile::tempdir().unwrap();
    let (none, text, foreign) = (folder.path().join("a.db"), folder.path().join("b.db"), folder.path().join("c.db"));
    fs::write(&text, "no database ".repeat(1000)).unwrap();
    fs::copy(host.file(), &foreign).unwrap();
    // The application id (the file format of SQLite, section 1.3).
    let mut bytes = fs::read(&foreign).unwrap();
    bytes[68..72].copy_from_slice(&[1, 2, 3, 4]);
    fs::write(&foreign, bytes).unwrap();
    for (file, said) in [(none, "there is no event store"), (text, "not a database"), (foreign, "another program's")] {
        let output = run(&file, &[]);
        assert_eq!(output.code, 1, "{}", file.display());
        assert!(output.error.contains(said) && output.error.contains(file.to_str().unwrap()), "{}", output.error);
    }
    for (arguments, said) in [
        (&["--limit", "0"][..], "limit"),
        (&["--since", "yesterday"], "neither a time"),
        (&["--kind", "a,b"], "not a kind"),
        (&["restore-block"], "NAMESPACE"),
    ] {
        let output = host.events(arguments);
        assert_eq!(output.code, 2, "{arguments:?}");
        assert!(output.error.contains(said), "{}", output.error);
    }
}

#[test]
fn a_block_is_restored_without_an_agent() {
    let mut host = Host::new();
    let start_address = 4 << 30;
    let namespace = |uuid: u8| NamespaceId {
        namespace: "namespace0.0".to_owned(),
        namespace_uuid: Some(uuid::Uuid::from_bytes([uuid; 16])),
        start_address,
        size_bytes: 1 << 30,
    };
    // The namespace was reconfigured: it has another uuid now, and the old block is still known by the old one.
    for (uuid, seen) in [(1, 100), (2, 200)] {
        let mut cache = InfoBlockCache::default();
        let seen = Time(SystemTime::UNIX_EPOCH + Duration::from_secs(seen));
        let block =
            SavedInfoBlock::new(namespace(uuid), Box::new(block(uuid).encode()), BlockOrigin::Read, seen).unwrap();
        cache.restore(vec![block]);
        cache.mark_all_dirty();
        host.store.commit(&mut [], &mut cache);
    }
    let restored = |which: &str, file: &Path| {
        let nobody = host.folder.path().join("none.sock");
        let socket = ["--control-socket", nobody.to_str().unwrap()];
        let output = host.events(&[&["restore-block", which, "-o", file.to_str().unwrap()], &socket[..]].concat());
        (lines(&output).join("\n"), fs::read(file).unwrap())
    };
    let (said, bytes) = restored("namespace0.0", &host.folder.path().join("new"));
    assert_eq!(bytes, block(2).encode());
    assert!(said.contains("dd if=") && said.contains("1970-01-01T00:03:20"), "{said}");
    let old = uuid::Uuid::from_bytes([1; 16]).to_string();
    assert_eq!(restored(&old, &host.folder.path().join("old")).1, block(1).encode());
}

/// What a kernel with 64 writes into a namespace of 1 GiB.
fn block(uuid: u8) -> InfoBlock {
    InfoBlock { uuid: [uuid + 10; 16], parent_uuid: [uuid; 16], ..InfoBlock::sample(18 << 20, 64) }
}
