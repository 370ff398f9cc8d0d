use std::fs;

use serde_json::{Value, json};

use super::*;

fn report(host: Option<&str>) -> Value {
    json!({
        "schema": 1, "host": host, "time": "2026-11-23T00:00:00Z",
        "kernel": { "release": "6.1.9", "page_size_bytes": 4096, "struct_page_size_bytes": 64 },
        "verdict": "oversize",
        "totals": {
            "namespaces": 2, "oversize": 1, "refused": 0, "unknown": 1, "size_bytes": 1000, "usable_bytes": 600,
            "reservation_bytes": 300, "ideal_bytes": 200, "excess_bytes": 100, "unused_bytes": 0
        },
        "regions": [],
        "namespaces": [
            { "namespace": "namespace0.0", "excess_bytes": 90, "verdict": "oversize", "cause": "regressed_kernel" },
            { "namespace": "namespace0.1", "excess_bytes": 10, "verdict": "ok", "cause": "rounding" }
        ]
    })
}

fn fleet(files: &[(&str, String)]) -> Fleet {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::create_dir(folder.path().join("more")).unwrap();
    let mut fleet = Fleet::keeping(10);
    add(folder.path(), &mut fleet).unwrap();
    fleet
}

#[test]
fn a_file_is_a_host() {
    let fleet = fleet(&[("a.json", report(Some("node-a")).to_string()), ("node-b.json", report(None).to_string())]);
    let totals = fleet.totals();
    assert_eq!((totals.hosts, totals.sums.namespaces, totals.sums.unknown_namespaces), (2, 4, 2));
    assert_eq!((totals.sums.excess_bytes, totals.sums.plan_bytes, totals.regressed_hosts), (200, 180, 2));
    let worst: Vec<_> = fleet.worst().iter().map(|it| it.host.as_str()).collect();
    assert_eq!(worst, ["node-a", "node-b"]);
    assert!(fleet.regressed());
}

/// Hosts are counted by their whole names: two of them could have the same hash.
#[test]
fn hosts_are_told_apart_by_name() {
    let names = ["node", "node-a", "node-A", "node-a.", "node-a.example.com", "\u{6e}ode-\u{430}"];
    let files: Vec<_> = names.iter().enumerate().map(|(at, name)| (format!("{at}.json"), report(Some(name)))).collect();
    let files: Vec<_> = files.iter().map(|(file, report)| (file.as_str(), report.to_string())).collect();
    let fleet = fleet(&files);
    assert_eq!((fleet.totals().hosts, fleet.uncounted().count), (6, 1), "the folder within the folder is no host");
}

/// The subfolder is one of them.
#[test]
fn what_is_no_report_is_named_and_not_counted() {
    let mut newer = report(Some("c"));
    newer["schema"] = json!(2);
    let mut short = report(Some("d"));
    short["totals"].as_object_mut().unwrap().remove("excess_bytes");
    let whole = report(Some("a")).to_string();
    let fleet = fleet(&[
        ("a.json", whole.clone()),
        ("again.json", whole.clone()),
        ("broken.json", whole[..whole.len() / 2].to_owned()),
        ("newer.json", newer.to_string()),
        ("short.json", short.to_string()),
        ("foreign.txt", "hello".to_owned()),
        ("empty.json", String::new()),
    ]);
    assert_eq!(fleet.totals().hosts, 1);
    let mut said: Vec<_> = fleet.uncounted().first.iter().map(|it| format!("{}: {}", it.place, it.problem)).collect();
    said.sort_unstable();
    let expected = [
        // Whichever of the two comes first is the one that counts.
        "a",
        "broken.json: it is not a complete report",
        "empty.json: it is empty",
        "foreign.txt: it is not a complete report",
        "more: it is a folder",
        "newer.json: its schema is 2",
        "short.json: it is not a complete report",
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said} is not {expected}");
    }
}

#[test]
fn no_folder_is_an_error() {
    let error = add(Path::new("/nonexistent/reports"), &mut Fleet::keeping(1)).unwrap_err();
    assert!(format!("{error:#}").contains("/nonexistent/reports cannot be read as a folder"), "{error:#}");
}

#[test]
fn a_real_report_is_read() {
    let scan = crate::testing::view::scan(|tree| tree.crowd(3));
    let text = serde_json::to_string(&crate::cli::command::scan::ScanReport::from(&scan)).unwrap();
    let host = parse(|| Ok(text.as_bytes())).unwrap().into_host();
    assert_eq!((host.sums.namespaces, host.sums.excess_bytes), (scan.totals.namespaces, scan.totals.excess_bytes));
    assert_eq!(host.kernel.as_deref(), Some(scan.kernel.release.as_str()));
}
