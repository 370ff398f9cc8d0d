//! The built binary's `debug-info`: what is in the archive, and what is not.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]

#[path = "support/command.rs"]
mod command;
#[path = "support/schema.rs"]
mod schema;
#[path = "support/tree.rs"]
mod tree;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use command::Ran;
use flate2::read::GzDecoder;
use serde_json::Value;
use tree::{Pmem, Tree};

const UUID: &str = "00000001-0000-4000-8000-000000000000";
const CONFIGURATION: &str = "\
[[alerts.receivers]]
name = \"pager\"
type = \"webhook\"
url = \"https://alerts.example.org/services/T0K3N\"
";

fn debug_info(folder: &Path, options: &[&str]) -> Ran {
    let path = |name: &str| folder.join(name).display().to_string();
    let (sysfs, config, store) = (path("sys"), path("pfnwatch.toml"), path("none.db"));
    let usual = ["--path.sysfs", &sysfs, "debug-info", "--config", &config, "--store", &store];
    let socket = path("none.sock");
    let arguments = [&usual[..], &["--control-socket", &socket], options].concat();
    Ran::of(&arguments, command::pfnwatch().args(&arguments).env("LANG", "C").output().unwrap())
}

fn host() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::new(&folder.path().join("sys")).unwrap();
    tree.region(0, 4 << 30, 64 << 30).unwrap();
    tree.namespace(&Pmem::default()).unwrap();
    fs::write(folder.path().join("pfnwatch.toml"), CONFIGURATION).unwrap();
    folder
}

fn contents(archive: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(archive).unwrap()));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().file_name().unwrap().to_str().unwrap().to_owned(), text)
    });
    entries.collect()
}

#[test]
fn the_archive_is_listed_and_has_no_secrets() {
    let folder = host();
    let file = folder.path().join("debug.tar.gz");
    let ran = debug_info(folder.path(), &["--output", file.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    let files = contents(&file);
    for name in files.keys() {
        assert!(ran.text.contains(name), "{name} is not listed: {}", ran.text);
    }
    let expected =
        ["doctor.json", "status.json", "kernel.json", "scan.json", "why.json", "config.toml", "events.jsonl"];
    let others = ["blocks.json", "kernel-log.txt", "offsets.txt", "verifier.log", "commands.txt", "version.txt"];
    for name in expected.into_iter().chain(others) {
        assert!(files.contains_key(name), "{name}");
    }
    let scan: Value = serde_json::from_str(&files["scan.json"]).unwrap();
    assert_eq!(scan["namespaces"][0]["namespace"], "namespace0.0");
    assert!(files["config.toml"].contains("https://alerts.example.org/"), "{}", files["config.toml"]);
    assert!(files["scan.json"].contains(UUID));
    // No agent runs, and there is no store: the reasons are there.
    assert!(files["commands.txt"].contains("status --format json"), "{}", files["commands.txt"]);
    assert!(files["blocks.json"].starts_with("there is no event store"), "{}", files["blocks.json"]);
    for (name, text) in &files {
        assert!(!text.contains("T0K3N"), "{name} has a secret");
    }
    // Again, it is not overwritten.
    let again = debug_info(folder.path(), &["--output", file.to_str().unwrap()]);
    assert!(again.code == 1 && again.error.contains("debug.tar.gz"), "{}", again.error);
}

#[test]
fn an_anonymous_archive_names_no_host_and_no_uuid() {
    let folder = host();
    let file = folder.path().join("debug.tar.gz");
    let ran = debug_info(folder.path(), &["--anonymize", "--without-ebpf", "--output", file.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", ran.error);
    for (name, text) in contents(&file) {
        assert!(!text.contains(UUID) && !text.contains("alerts.example.org"), "{name}: {text}");
    }
    assert!(contents(&file)["scan.json"].contains("00000000-0000-4000-8000-00000000000"));
}

#[test]
fn a_list_alone_writes_nothing_and_an_invalid_configuration_is_not_quoted() {
    let folder = host();
    fs::write(folder.path().join("pfnwatch.toml"), CONFIGURATION.replace("type", "tipe")).unwrap();
    let before = fs::read_dir(folder.path()).unwrap().count();
    let ran = debug_info(folder.path(), &["--list"]);
    assert!(ran.code == 0 && ran.text.contains("commands.txt") && !ran.text.contains("written to"), "{}", ran.text);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
    let file = folder.path().join("debug.tar.gz");
    assert_eq!(debug_info(folder.path(), &["--output", file.to_str().unwrap()]).code, 0);
    for (name, text) in contents(&file) {
        assert!(!text.contains("T0K3N"), "{name}: {text}");
    }
}
