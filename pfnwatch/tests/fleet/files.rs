//! `pfnwatch fleet --from`: a folder with anything in it, and one with very many files.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{peak, reports};

const PFNWATCH: &str = env!("CARGO_BIN_EXE_pfnwatch");
/// The limit of the growth from 100 files to 10,000. Their names, of up to 24 bytes each, take 0.6 MiB of it.
const GROWTH: u64 = 1 << 20;
/// The least of them counts: a fault maps what happens to be in the page cache around it (`do_fault_around` in mm/memory.c), and each CPU
/// counts resident pages by itself for a while, which is up to half a MiB.
const RUNS: usize = 3;

fn fleet(folder: &Path) -> Command {
    let mut command = Command::new(PFNWATCH);
    command.args(["fleet", "--format", "json", "--from"]).arg(folder);
    command
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[test]
fn ten_thousand_files_take_no_more_memory_than_a_hundred() {
    let template = reports::template(Path::new(PFNWATCH), 1).unwrap();
    let [few, many] = [100, 10_000].map(|hosts| {
        let folder = reports::folder().unwrap();
        reports::fill(folder.path(), &template, hosts).unwrap();
        let measured = (0..RUNS).map(|_| {
            let ran = peak::run(&mut fleet(folder.path())).unwrap();
            let report: Value = serde_json::from_str(&ran.output).unwrap();
            assert_eq!((ran.code, &report["totals"]["hosts"]), (Some(0), &json!(hosts)));
            println!("{hosts} files: {:.2} s, {} KiB at most", ran.took.as_secs_f64(), ran.peak_bytes >> 10);
            ran.peak_bytes
        });
        measured.min().unwrap()
    });
    assert!(many <= few + GROWTH, "{few} bytes for 100 files, {many} for 10,000");
}

/// A report of more namespaces than any host has is streamed, too.
#[test]
fn a_large_report_takes_no_more_memory_than_a_small_one() {
    let template = reports::template(Path::new(PFNWATCH), 8).unwrap();
    let [few, many] = [1, 1_000].map(|times| {
        let mut report = template.clone();
        report["namespaces"] =
            vec![&template["namespaces"]; times].into_iter().flat_map(|it| it.as_array().unwrap().clone()).collect();
        report["totals"]["namespaces"] = json!(8 * times);
        let folder = reports::folder().unwrap();
        fs::write(folder.path().join("host.json"), report.to_string()).unwrap();
        let ran = peak::run(&mut fleet(folder.path())).unwrap();
        let told: Value = serde_json::from_str(&ran.output).unwrap();
        assert_eq!(told["totals"]["namespaces"], 8 * times);
        ran.peak_bytes
    });
    assert!(many <= few + GROWTH, "{few} bytes for 8 namespaces, {many} for 8,000");
}

#[test]
fn whatever_is_no_report_is_named_and_the_exit_code_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let report = reports::of(&reports::template(Path::new(PFNWATCH), 1).unwrap(), 1);
    let with = |key: &str, value: Value| {
        let mut other = report.clone();
        other[key] = value;
        other.to_string()
    };
    let whole = report.to_string();
    fs::write(at("whole.json"), &whole).unwrap();
    fs::write(at("again.json"), &whole).unwrap();
    fs::write(at("broken.json"), &whole[..whole.len() / 2]).unwrap();
    fs::write(at("older.json"), with("schema", json!(0))).unwrap();
    fs::write(at("newer.json"), with("schema", json!(2))).unwrap();
    fs::write(at("event.json"), r#"{"schema": 1, "kind": "setup", "time": "2026-01-01T00:00:00Z"}"#).unwrap();
    fs::write(at("short.json"), with("namespaces", json!([]))).unwrap();
    fs::write(at("binary.json"), [0xff, 0xfe, 0, 1]).unwrap();
    fs::write(at("deep.json"), "[".repeat(100_000)).unwrap();
    fs::write(at("empty.json"), "").unwrap();
    fs::File::create(at("huge.json")).unwrap().set_len(1 << 40).unwrap();
    fs::create_dir(at("folder")).unwrap();
    symlink("loop.json", at("loop.json")).unwrap();
    symlink("nowhere", at("lost.json")).unwrap();
    nix::unistd::mkfifo(&at("pipe.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(at("socket.json")).unwrap();
    let output = fleet(folder.path()).output().unwrap();
    let report = json_of(&output);
    assert_eq!((output.status.code(), &report["totals"]["hosts"]), (Some(1), &json!(1)), "{report:#}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the sums are short: 15 of the hosts or files could not be counted"), "{said}");
    // Whichever of the two with the same host comes first is the one that counts.
    let mut expected = vec![
        ("binary.json", "it is not a complete report"),
        ("broken.json", "it is not a complete report"),
        ("deep.json", "it is not a complete report"),
        ("empty.json", "it is empty"),
        ("event.json", "it is not a complete report"),
        ("folder", "it is a folder"),
        ("huge.json", "it is larger than 64 MiB"),
        ("loop.json", "Too many levels of symbolic links"),
        ("lost.json", "it is a link to nothing"),
        ("newer.json", "its schema is 2, and this pfnwatch reads 1: a newer pfnwatch is needed here"),
        ("older.json", "its schema is 0, and this pfnwatch reads 1: scan that host with a newer pfnwatch"),
        ("pipe.json", "it is no file"),
        ("short.json", "its totals are of 1 namespaces, and it lists 0"),
        ("socket.json", "it is no file"),
    ];
    let problems = report["not_counted"]["first"].as_array().unwrap();
    let place = |it: &Value| it["where"].as_str().unwrap().to_owned();
    for problem in problems.iter().filter(|it| !["again.json", "whole.json"].contains(&place(it).as_str())) {
        let at = expected.iter().position(|(name, _)| *name == place(problem)).unwrap_or_else(|| panic!("{problem}"));
        let (_, words) = expected.remove(at);
        assert!(problem["problem"].as_str().unwrap().starts_with(words), "{problem}");
    }
    assert!(expected.is_empty() && problems.len() == 15, "{expected:?} {problems:#?}");
}

#[test]
fn an_empty_folder_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = fleet(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no host is known"), "{output:?}");
}

/// Root reads everything: the file is then one more host.
#[test]
fn a_file_that_may_not_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret.json");
    fs::write(&file, reports::template(Path::new(PFNWATCH), 1).unwrap().to_string()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let may_read = fs::File::open(&file).is_ok();
    let output = fleet(folder.path()).output().unwrap();
    let report = json_of(&output);
    let problem = report["not_counted"]["first"][0]["problem"].as_str().unwrap_or_default();
    assert!(may_read || problem.contains("it cannot be read: Permission denied"), "{report:#}");
    assert_eq!(output.status.code(), Some(i32::from(!may_read)));
}

#[test]
fn what_was_found_is_told_before_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    reports::fill(folder.path(), &reports::template(Path::new(PFNWATCH), 1).unwrap(), 3).unwrap();
    fs::write(folder.path().join("broken.json"), "{").unwrap();
    let code = |arguments: &[&str]| fleet(folder.path()).args(arguments).output().unwrap().status.code();
    assert_eq!(code(&[]), Some(1));
    assert_eq!(code(&["--allow-incomplete"]), Some(0));
    assert_eq!(code(&["--fail-on", "oversize"]), Some(3));
    assert_eq!(code(&["--fail-on", "incomplete", "--allow-incomplete"]), Some(3));
}
