//! The built binary: `policy check` over configurations, generated hosts and events.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]

#[path = "support/command.rs"]
mod command;
#[path = "support/schema.rs"]
mod schema;
#[path = "support/tree.rs"]
mod tree;

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use command::Ran;
use pfnwatch::guard::info_block_cache::InfoBlockCache;
use pfnwatch::model::event::{Body, Event, LostRecords, ObservationState, Ready, RecordTotals};
use pfnwatch::model::store::Settings;
use pfnwatch::store::EventStore;
use serde_json::{Value, json};
use tempfile::TempDir;
use tree::{Pmem, Tree};

const GIB: u64 = 1 << 30;
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/pfnwatch.toml");

/// A host with one namespace by a kernel with the regression, one by a good kernel, and one with map=mem.
fn host() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::new(folder.path()).unwrap();
    tree.region(0, 4 * GIB, 64 * GIB).unwrap();
    tree.namespace(&Pmem { struct_page: 128, ..Pmem::default() }).unwrap();
    tree.namespace(&Pmem { id: 1, start: 20 * GIB, ..Pmem::default() }).unwrap();
    tree.namespace(&Pmem { id: 2, start: 36 * GIB, map: "ram", ..Pmem::default() }).unwrap();
    folder
}

fn pfnwatch(sysfs: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut command = command::pfnwatch();
    command.arg("--path.sysfs").arg(sysfs).args(arguments).env_remove("LC_ALL").env("LANG", "C");
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // It may end without having read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Ran::of(arguments, child.wait_with_output().unwrap())
}

fn check(sysfs: &Path, configuration: &str, more: &[&str], input: &str) -> Ran {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(configuration.as_bytes()).unwrap();
    let arguments: Vec<_> = ["policy", "check", file.path().to_str().unwrap()].iter().chain(more).copied().collect();
    pfnwatch(sysfs, &arguments, input)
}

#[test]
fn the_example_is_valid_and_explained() {
    let host = host();
    let output = pfnwatch(host.path(), &["policy", "check", EXAMPLE], "");
    let words = output.text;
    assert_eq!(output.code, 0, "{}", output.error);
    for said in [
        "is valid",
        "Mode audit",
        "ends, release",
        "0.1 %",
        "16 GiB   258 MiB            16.3 MiB  514 MiB: OVERSIZE",
        "No exemptions",
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }
    assert!(!words.contains("Warnings"), "{words}");
    let answer = pfnwatch(host.path(), &["policy", "check", EXAMPLE, "--format", "json"], "").json();
    assert_eq!((&answer["schema"], &answer["valid"], &answer["mode"]), (&1.into(), &true.into(), &"audit".into()));
    assert_eq!((&answer["against"], &answer["on_agent_exit"]), (&Value::Null, &"release".into()));
    let example = &answer["examples"][1];
    assert_eq!(example["size_bytes"], Value::from(1024 * GIB));
    assert_eq!(example["limit_bytes"], Value::from(1024 * GIB / 1000));
    assert_eq!(example["ideal_bytes"], Value::from(16386_u64 << 20));
    assert_eq!(example["regressed_excess_bytes"], Value::from(16384_u64 << 20));
    assert_eq!(example["regressed_is_oversize"], Value::from(true));
}

#[test]
fn what_is_not_valid_ends_with_2_and_names_its_place() {
    let host = host();
    let wrong = "[guard]\nmode = \"on\"\n";
    let output = check(host.path(), wrong, &[], "");
    let error = output.error;
    assert_eq!((output.code, output.text.len()), (2, 0));
    assert!(error.contains("line 2, column 8") && error.contains("`audit` or `enforce`"), "{error}");
    let output = check(host.path(), wrong, &["--format", "json"], "");
    let answer = output.json();
    assert_eq!((output.code, &answer["valid"]), (2, &false.into()));
    assert!(answer["error"].as_str().unwrap().contains("line 2, column 8"), "{answer}");
    // The other commands take such a file no more than this one does.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(wrong.as_bytes()).unwrap();
    assert_eq!(pfnwatch(host.path(), &["scan", "--config", file.path().to_str().unwrap()], "").code, 2);
    let gone = pfnwatch(host.path(), &["policy", "check", "/proc/none/pfnwatch.toml"], "");
    assert!(gone.code == 1 && gone.error.contains("/proc/none/pfnwatch.toml"), "{gone:?}");
}

#[test]
fn warnings_say_what_is_most_likely_not_meant() {
    let configuration = "[thresholds]\npercent = 5\n\
        [[exemptions]]\nregion_set_cookie = \"0xdeadbeef\"\nreason = \"for good\"\n\
        [[exemptions]]\nregion_start = \"0x1000\"\nreason = \"gone\"\nuntil = 9999-12-31T00:00:00Z\n\
        [[exemptions]]\nregion_set_cookie = \"0xdeadbeef\"\nreason = \"over\"\nuntil = 2020-01-01T00:00:00Z\n\
        [[exemptions]]\nnamespace_uuid = \"00000001-0000-4000-8000-000000000000\"\nreason = \"fine\"\nuntil = 9999-12-31T00:00:00Z\n";
    let output = check(host().path(), configuration, &["--format", "json"], "");
    let answer = output.json();
    assert_eq!(output.code, 0);
    let warnings: Vec<_> = answer["warnings"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let expected = [
        "nothing that a kernel with the regression makes",
        "exemption 1, the region with set_cookie 0xdeadbeef: it never expires",
        "exemption 2, the region that starts at 0x1000: there is none on this host",
        "exemption 3, the region with set_cookie 0xdeadbeef: it expired at 2020-01-01T00:00:00Z",
        "exemption 3, the region with set_cookie 0xdeadbeef: exemption 1 is for the same",
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.contains(expected), "{expected}: {warning}");
    }
    assert_eq!(answer["exemptions"][3]["on_this_host"], Value::from(true));
    let bare = check(Path::new("/proc/none"), configuration, &["--format", "json"], "");
    assert!(bare.text.contains("this host has no persistent memory"), "{}", bare.text);
}

#[test]
fn against_scan_says_which_namespaces_it_would_have_denied() {
    let host = host();
    let against =
        |configuration: &str| check(host.path(), configuration, &["--against", "scan", "--format", "json"], "");
    let output = against("");
    let answer = output.json();
    assert_eq!(output.code, 3);
    let decisions: Vec<_> =
        answer["against"]["creations"].as_array().unwrap().iter().map(|it| &it["decision"]).collect();
    assert_eq!(decisions, ["would_deny", "passes"]);
    assert_eq!(answer["against"]["unjudged"], Value::from(1));
    assert_eq!(answer["against"]["counts"]["denied_excess_bytes"], Value::from(256_u64 << 20));
    for (configuration, exit, decision) in [
        ("[guard]\nmode = \"enforce\"", 3, "denied"),
        ("[thresholds]\npercent = 5", 0, "passes"),
        ("[[exemptions]]\nregion_set_cookie = \"0xdeadbeef\"\nreason = \"r\"", 0, "exempt"),
        ("[[exemptions]]\nregion_start = \"0x100000000\"\nreason = \"r\"", 0, "exempt"),
        ("[[exemptions]]\nregion_start = \"0x100001000\"\nreason = \"r\"", 3, "would_deny"),
        ("[[exemptions]]\nnamespace_uuid = \"00000001-0000-4000-8000-000000000000\"\nreason = \"r\"", 0, "exempt"),
        (
            "[[exemptions]]\nregion_set_cookie = \"0xdeadbeef\"\nreason = \"r\"\nuntil = 2020-01-01T00:00:00Z",
            3,
            "would_deny",
        ),
    ] {
        let output = against(configuration);
        let answer = output.json();
        assert_eq!(
            (output.code, &answer["against"]["creations"][0]["decision"]),
            (exit, &decision.into()),
            "{configuration}"
        );
    }
    let words = check(host.path(), "", &["--against", "scan"], "").text;
    assert!(
        words.contains("WOULD DENY") && words.contains("1 would be denied under enforce (256 MiB too much)"),
        "{words}"
    );
}

/// Without root the start of a region is not readable: whether an exemption by it matches is unknown.
#[test]
fn what_cannot_be_seen_is_said_to_be_unknown() {
    let host = host();
    Tree::new(host.path()).unwrap().write("region0", &[("resource", "")]).unwrap();
    let configuration = "[[exemptions]]\nregion_start = \"0x100000000\"\nreason = \"r\"";
    let output = check(host.path(), configuration, &["--against", "scan", "--format", "json"], "");
    assert_eq!((output.code, &output.json()["against"]["counts"]["unknown"]), (0, &1.into()));
}

#[test]
fn against_events_reads_a_file_or_standard_input() {
    let host = host();
    let denied = json!({
        "schema": 1, "time": "2026-11-22T12:00:00Z", "event": "denied", "namespace": "namespace0.3",
        "namespace_uuid": null, "start_address": 4 * GIB, "size_bytes": 16 * GIB, "align_bytes": 2 << 20,
        "reservation_bytes": 514_u64 << 20, "ideal_bytes": 258_u64 << 20, "excess_bytes": 256_u64 << 20,
    });
    let lines = format!("{denied}\nnot an event\n");
    let against = ["--against", "events", "--events"];
    let output = check(host.path(), "", &[&against[..], &["-"]].concat(), &lines);
    let words = output.text;
    assert_eq!(output.code, 3, "{}", output.error);
    for said in ["2026-11-22T12:00:00Z  denied", "namespace0.3: 256 MiB too much", "1 lines are no events", "line 2"] {
        assert!(words.contains(said), "{said}: {words}");
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.as_bytes()).unwrap();
    let exempt = "[[exemptions]]\nregion_set_cookie = \"0xdeadbeef\"\nreason = \"r\"";
    let output = check(host.path(), exempt, &[&against[..], &[file.path().to_str().unwrap()]].concat(), "");
    assert_eq!(output.code, 0);
    assert!(output.text.contains("0 would be denied under enforce, 1 exempt"), "{}", output.text);
    assert_eq!(check(host.path(), "", &[&against[..], &["/proc/none/events"]].concat(), "").code, 1);
    assert_eq!(check(host.path(), "", &[&against[..], &["-"]].concat(), "2026 ready\n").code, 1);
}

#[test]
fn against_events_reads_the_event_store() {
    let host = host();
    let none = host.path().join("none.db");
    let output = check(host.path(), "", &["--against", "events", "--store", none.to_str().unwrap()], "");
    assert_eq!(output.code, 1);
    assert!(output.error.contains("there is no event store"), "{}", output.error);
    let file = host.path().join("pfnwatch.db");
    let mut store =
        EventStore::open(Settings { file: Some(file.clone()), ..Settings::default() }, pfnwatch::export::line::of);
    let lost = Event::now(Body::Lost(LostRecords::default()));
    let stopped = Event::now(Body::Stopped(RecordTotals::default()));
    store.commit(&mut [lost, stopped, Event::now(Body::Ready(ready()))], &mut InfoBlockCache::default());
    let output = check(host.path(), "", &["--against", "events", "--store", file.to_str().unwrap()], "");
    assert_eq!(output.code, 0, "{}", output.error);
    assert!(output.text.contains("0 would be denied under enforce"), "{}", output.text);
}

fn ready() -> Ready {
    Ready {
        state: ObservationState::Observing,
        reason: None,
        kernel: "6.1.9".to_owned(),
        struct_page_size_bytes: Some(64),
        page_size_bytes: 4096,
        programs: Vec::new(),
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let host = host();
    for more in
        [&["--events", "-"][..], &["--against", "scan", "--events", "-"], &["--against", "store"], &["--format", "csv"]]
    {
        let output = check(host.path(), "", more, "");
        assert_eq!(output.code, 2, "{more:?} {}", output.error);
        assert!(output.text.is_empty(), "{more:?}");
    }
    assert_eq!(pfnwatch(host.path(), &["policy"], "").code, 2);
}
