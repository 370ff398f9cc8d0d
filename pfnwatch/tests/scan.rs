//! The built binary over generated hosts: exit codes and output of `scan`, `predict` and `plan`.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]

#[path = "support/schema.rs"]
mod schema;
#[path = "support/tree.rs"]
mod tree;

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;
use tree::{Pmem, Tree};

const GIB: u64 = 1 << 30;

fn host(build: impl Fn(&Tree) -> std::io::Result<()>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    build(&Tree::new(folder.path()).unwrap()).unwrap();
    folder
}

fn pfnwatch(sysfs: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pfnwatch"));
    let command = command.arg("--path.sysfs").arg(sysfs).args(arguments).env_remove("LC_ALL").env("LANG", "C");
    let output = command.output().unwrap();
    schema::check_output(arguments, &text(&output)).unwrap();
    output
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn regressed() -> TempDir {
    host(|tree| {
        tree.region(0, 4 * GIB, 64 * GIB)?;
        tree.namespace(&Pmem { struct_page: 128, ..Pmem::default() })
    })
}

#[test]
fn a_host_without_persistent_memory() {
    let folder = tempfile::tempdir().unwrap();
    let output = pfnwatch(folder.path(), &["scan"]);
    assert_eq!((code(&output), text(&output).lines().count()), (0, 1));
    assert_eq!(json(&pfnwatch(folder.path(), &["scan", "--format", "json"]))["namespaces"], Value::Array(Vec::new()));
    assert_eq!(code(&pfnwatch(folder.path(), &["plan"])), 0);
}

#[test]
fn oversize_ends_with_3_and_everything_else_with_0() {
    assert_eq!(code(&pfnwatch(regressed().path(), &["scan"])), 3);
    let good = host(|tree| tree.namespace(&Pmem::default()));
    assert_eq!(code(&pfnwatch(good.path(), &["scan"])), 0);
    let coarse = host(|tree| tree.namespace(&Pmem { align: GIB, struct_page: 128, ..Pmem::default() }));
    assert_eq!(code(&pfnwatch(coarse.path(), &["scan"])), 0);
    let broken = host(|tree| {
        tree.namespace(&Pmem::default())?;
        tree.write("pfn0.1", &[("align", "")])
    });
    let output = pfnwatch(broken.path(), &["scan", "--format", "json"]);
    assert_eq!((code(&output), &json(&output)["verdict"]), (0, &Value::from("unknown")));
}

#[test]
fn the_report_goes_to_a_file_for_the_textfile_collector() {
    let folder = regressed();
    let file = folder.path().join("pfnwatch.prom");
    let output = pfnwatch(folder.path(), &["scan", "--format", "prom", "--output", file.to_str().unwrap()]);
    assert_eq!((code(&output), output.stdout.len()), (3, 0));
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("pfnwatch_namespace_oversize{namespace=\"namespace0.0\""), "{written}");
    let output = pfnwatch(folder.path(), &["scan", "--output", "/proc/none/report"]);
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(code(&output) == 1 && error.contains("writing /proc/none/report"), "{error}");
}

#[test]
fn a_day_is_held_against_another() {
    let good = host(|tree| tree.namespace(&Pmem::default()));
    let file = good.path().join("before.json");
    let file = file.to_str().unwrap();
    assert_eq!(code(&pfnwatch(good.path(), &["scan", "--format", "json", "--output", file])), 0);
    let same = pfnwatch(good.path(), &["scan", "--against", file]);
    assert!(code(&same) == 0 && text(&same).contains("No namespace costs more"), "{}", text(&same));
    let now = regressed();
    let output = pfnwatch(now.path(), &["scan", "--against", file]);
    assert!(code(&output) == 3 && text(&output).contains("256 MiB lost"), "{}", text(&output));
    let output = pfnwatch(now.path(), &["scan", "--against", file, "--format", "json"]);
    assert_eq!((code(&output), &json(&output)["lost_bytes"]), (3, &Value::from(256 << 20)));
    // A rebuild is no regression.
    assert_eq!(code(&pfnwatch(now.path(), &["scan", "--format", "json", "--output", file])), 3);
    assert_eq!(code(&pfnwatch(good.path(), &["scan", "--against", file])), 0);
    for (wrong, expected) in [(["--against", "/proc/self/cmdline"], 2), (["--against", "/none"], 1)] {
        assert_eq!(code(&pfnwatch(good.path(), &["scan", wrong[0], wrong[1]])), expected, "{wrong:?}");
    }
    assert_eq!(code(&pfnwatch(good.path(), &["scan", "--against", file, "--format", "csv"])), 2);
}

#[test]
fn a_prediction_is_what_the_formula_says() {
    let folder = regressed();
    let predict = |more: &[&str]| {
        let arguments: Vec<_> = ["predict", "--format", "json"].iter().chain(more).copied().collect();
        pfnwatch(folder.path(), &arguments)
    };
    let output = predict(&["--size", "1TiB", "--start", "4G", "--max-struct-page", "128"]);
    let answer = json(&output);
    assert_eq!(code(&output), 3);
    for (row, mib) in [("this_kernel", 32770_u64), ("good_kernel", 16386), ("other_map", 2)] {
        assert_eq!(answer[row]["reservation_bytes"], Value::from(mib << 20), "{row}");
    }
    let output = predict(&["--region", "region0", "--align", "1G", "--max-struct-page", "64"]);
    let answer = json(&output);
    assert_eq!((code(&output), &answer["request"]["size_bytes"]), (0, &Value::from(64 * GIB)));
    let output = predict(&["--size", "1000001K", "--ndctl-size", "--max-struct-page", "64"]);
    assert_eq!(json(&output)["request"]["size_bytes"], Value::from(GIB - (32 << 20)));
}

#[test]
fn wrong_usage_ends_with_2() {
    let folder = regressed();
    for arguments in [
        &["predict"][..],
        &["predict", "--size", "1Z"],
        &["predict", "--size", "1T", "--align", "3M"],
        &["predict", "--size", "1T", "--start", "0xzz"],
        &["predict", "--size", "1T", "--max-struct-page", "0"],
        &["predict", "--size", "1T", "--region", "region9"],
        &["predict", "--size", "1T", "--format", "csv"],
        &["plan", "namespace7.7"],
        &["scan", "--format", "xml"],
    ] {
        let output = pfnwatch(folder.path(), arguments);
        assert_eq!(code(&output), 2, "{arguments:?} {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_plan_prints_and_never_acts() {
    let folder = regressed();
    let output = pfnwatch(folder.path(), &["plan", "--max-struct-page", "128"]);
    assert_eq!(code(&output), 3);
    let plan = text(&output);
    for line in ["ndctl create-namespace --reconfig=namespace0.0", "ndctl write-infoblock", "--map=mem", "back up"] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    let plan = json(&pfnwatch(folder.path(), &["plan", "--max-struct-page", "64", "--format", "json"]));
    assert_eq!((&plan["schema"], &plan["steps"][0]["excess_bytes"]), (&1.into(), &(256 << 20).into()));
}

#[test]
fn a_plan_is_written_as_a_script_once() {
    let folder = regressed();
    let file = folder.path().join("plan.sh");
    let arguments = ["plan", "--max-struct-page", "64", "--script", file.to_str().unwrap()];
    assert_eq!(code(&pfnwatch(folder.path(), &arguments)), 3);
    let script = std::fs::read_to_string(&file).unwrap();
    assert!(script.starts_with("#!/bin/sh\n") && script.contains("pfnwatch_same namespace0.0 uuid="), "{script}");
    assert_eq!(code(&pfnwatch(folder.path(), &arguments)), 1, "a file that is there is not overwritten");
}

/// Of 4 GiB an older kernel cut 64 MiB off at the end. Sizes alone look like the regression's, to the byte.
#[test]
fn an_older_kernels_cut_is_no_finding() {
    let folder = host(|tree| {
        tree.region(0, 4 * GIB, 64 * GIB)?;
        tree.namespace(&Pmem { size: 4 * GIB, ..Pmem::default() })?;
        tree.write("pfn0.1", &[("size", "4158652416"), ("resource", "0x104200000")])
    });
    let scan = || {
        let output = pfnwatch(folder.path(), &["scan", "--format", "json"]);
        (code(&output), json(&output)["namespaces"][0].clone())
    };
    let (root, namespace) = scan();
    assert_eq!((root, &namespace["verdict"], &namespace["cause"]), (0, &"ok".into(), &"older_kernel".into()));
    let detail = namespace["detail"].as_str().unwrap();
    assert!(detail.starts_with("64 MiB cut off at the end by an older kernel, a rebuild returns it"), "{detail}");
    for device in ["namespace0.0", "pfn0.1"] {
        std::fs::remove_file(folder.path().join("bus/nd/devices").join(device).join("resource")).unwrap();
    }
    let (user, namespace) = scan();
    assert_eq!((user, &namespace["verdict"], &namespace["class"]), (0, &"unknown".into(), &Value::Null));
}

/// Linux 6.18.15 does not return the 2 MiB pieces of a memmap.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_prediction_says_what_map_mem_loses() {
    let folder = regressed();
    let kernel = folder.path().join("sys/kernel");
    std::fs::create_dir_all(&kernel).unwrap();
    let predict = |release| {
        std::fs::write(kernel.join("osrelease"), release).unwrap();
        let procfs = folder.path().to_str().unwrap();
        let size = ["predict", "--size", "16GiB", "--max-struct-page", "64", "--path.procfs", procfs];
        text(&pfnwatch(folder.path(), &size))
    };
    assert!(predict("6.18.15+deb13-amd64\n").contains("suspected to lose that DRAM at each disable"));
    assert!(!predict("6.12.107+deb13-amd64\n").contains("suspected"));
}

#[test]
fn a_thousand_namespaces() {
    let folder = host(|tree| tree.crowd(1000));
    let output = pfnwatch(folder.path(), &["scan", "--format", "json"]);
    let report = json(&output);
    assert_eq!(code(&output), 3);
    assert_eq!(report["namespaces"].as_array().unwrap().len(), 1000);
    assert_eq!((&report["totals"]["oversize"], &report["totals"]["unknown"]), (&63.into(), &0.into()));
    assert_eq!(report["totals"]["excess_bytes"], Value::from(63 * (256_u64 << 20)));
}
