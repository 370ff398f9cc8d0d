//! The built binary: `pfnwatch schema`, and reports that no other test validates against the published schemas.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]

#[path = "support/command.rs"]
mod command;
#[path = "support/schema.rs"]
mod schema;
#[path = "support/tree.rs"]
mod tree;

use std::fs;
use std::path::Path;

use command::Ran;
use pfnwatch_common::InfoBlock;
use serde_json::Value;
use tree::{Pmem, Tree};

fn pfnwatch(arguments: &[&str]) -> Ran {
    Ran::of(arguments, command::pfnwatch().args(arguments).output().unwrap())
}

/// Its output must match its schema; another test checks the exit code.
fn reports(arguments: &[&str]) {
    let arguments = [arguments, &["--format", "json"]].concat();
    let output = pfnwatch(&arguments);
    assert!(!output.text.is_empty(), "{arguments:?}: {output:?}");
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn schemas_are_printed_by_name_and_written_all() {
    let folder = tempfile::tempdir().unwrap();
    let all = path(folder.path(), "new/schemas");
    assert_eq!(pfnwatch(&["schema", "--all", &all]).code, 0);
    let list = pfnwatch(&["schema"]).text;
    let names: Vec<_> = list.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(fs::read_dir(&all).unwrap().count(), names.len());
    assert!(names.contains(&"event") && names.contains(&"event.set_up") && names.contains(&"scan"), "{names:?}");
    let file = fs::read_to_string(path(all.as_ref(), "scan.json")).unwrap();
    assert_eq!(file, pfnwatch(&["schema", "scan"]).text);
    let scan: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(scan["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let unheard = pfnwatch(&["schema", "unheard"]);
    assert_eq!((unheard.code, unheard.text.len()), (2, 0));
}

#[test]
fn reports_of_this_host_are_as_the_schemas_say() {
    for arguments in [&["doctor"][..], &["kernel", "--running"], &["kernel", "/nowhere"]] {
        reports(arguments);
    }
    let folder = tempfile::tempdir().unwrap();
    let (config, drop_ins) = (path(folder.path(), "a.toml"), path(folder.path(), "conf.d"));
    fs::write(&config, "[guard]\nmode = \"audit\"\n").unwrap();
    fs::create_dir(&drop_ins).unwrap();
    reports(&["config", "show", "--config", &config, "--config-dir", &drop_ins]);
}

#[test]
fn reports_of_files_are_as_the_schemas_say() {
    let folder = tempfile::tempdir().unwrap();
    let (sysfs, hosts) = (folder.path().join("sys"), folder.path().join("hosts"));
    fs::create_dir_all(&sysfs).unwrap();
    fs::create_dir(&hosts).unwrap();
    Tree::new(&sysfs).unwrap().namespace(&Pmem { struct_page: 128, ..Pmem::default() }).unwrap();
    let report = path(&hosts, "a.json");
    let (sysfs, hosts) = (sysfs.to_str().unwrap(), hosts.to_str().unwrap());
    let scan = pfnwatch(&["--path.sysfs", sysfs, "scan", "--without-ebpf", "--format", "json", "--output", &report]);
    assert_eq!(scan.code, 3, "{scan:?}");
    fs::write(path(hosts.as_ref(), "b.json"), "damaged").unwrap();
    reports(&["fleet", "--from", hosts]);

    let block = InfoBlock::sample(34 << 20, 128);
    let file = path(folder.path(), "block");
    fs::write(&file, block.encode()).unwrap();
    reports(&["superblock", &file]);
}
