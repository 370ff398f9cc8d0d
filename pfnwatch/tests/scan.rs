//! The built binary over generated hosts: exit codes and output of `scan`, `predict` and `plan`.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]

#[path = "support/command.rs"]
mod command;
#[path = "support/schema.rs"]
mod schema;
#[path = "support/tree.rs"]
mod tree;

use std::path::Path;

use command::Ran;
use serde_json::Value;
use tempfile::TempDir;
use tree::{Pmem, Tree};

const GIB: u64 = 1 << 30;

fn host(build: impl Fn(&Tree) -> std::io::Result<()>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    build(&Tree::new(folder.path()).unwrap()).unwrap();
    folder
}

fn pfnwatch(sysfs: &Path, arguments: &[&str]) -> Ran {
    let mut command = command::pfnwatch();
    command.arg("--path.sysfs").arg(sysfs).args(arguments).env_remove("LC_ALL").env("LANG", "C");
    Ran::of(arguments, command.output().unwrap())
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
    assert_eq!((output.code, output.text.lines().count()), (0, 1));
    assert_eq!(pfnwatch(folder.path(), &["scan", "--format", "json"]).json()["namespaces"], Value::Array(Vec::new()));
    assert_eq!(pfnwatch(folder.path(), &["plan"]).code, 0);
}

#[test]
fn oversize_ends_with_3_and_everything_else_with_0() {
    assert_eq!(pfnwatch(regressed().path(), &["scan"]).code, 3);
    let good = host(|tree| tree.namespace(&Pmem::default()));
    assert_eq!(pfnwatch(good.path(), &["scan"]).code, 0);
    let coarse = host(|tree| tree.namespace(&Pmem { align: GIB, struct_page: 128, ..Pmem::default() }));
    assert_eq!(pfnwatch(coarse.path(), &["scan"]).code, 0);
    let broken = host(|tree| {
        tree.namespace(&Pmem::default())?;
        tree.write("pfn0.1", &[("align", "")])
    });
    let output = pfnwatch(broken.path(), &["scan", "--format", "json"]);
    assert_eq!((output.code, &output.json()["verdict"]), (0, &Value::from("unknown")));
}

#[test]
fn the_report_goes_to_a_file_for_the_textfile_collector() {
    let folder = regressed();
    let file = folder.path().join("pfnwatch.prom");
    let output = pfnwatch(folder.path(), &["scan", "--format", "prom", "--output", file.to_str().unwrap()]);
    assert_eq!((output.code, output.text.len()), (3, 0));
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("pfnwatch_namespace_oversize{namespace=\"namespace0.0\""), "{written}");
    let output = pfnwatch(folder.path(), &["scan", "--output", "/proc/none/report"]);
    let error = &output.error;
    assert!(output.code == 1 && error.contains("writing /proc/none/report"), "{error}");
}

#[test]
fn a_day_is_held_against_another() {
    let good = host(|tree| tree.namespace(&Pmem::default()));
    let file = good.path().join("before.json");
    let file = file.to_str().unwrap();
    assert_eq!(pfnwatch(good.path(), &["scan", "--format", "json", "--output", file]).code, 0);
    let same = pfnwatch(good.path(), &["scan", "--against", file]);
    assert!(same.code == 0 && same.text.contains("No namespace costs more"), "{}", same.text);
    let now = regressed();
    let output = pfnwatch(now.path(), &["scan", "--against", file]);
    assert!(output.code == 3 && output.text.contains("256 MiB lost"), "{}", output.text);
    let output = pfnwatch(now.path(), &["scan", "--against", file, "--format", "json"]);
    assert_eq!((output.code, &output.json()["lost_bytes"]), (3, &Value::from(256 << 20)));
    // A rebuild is no regression.
    assert_eq!(pfnwatch(now.path(), &["scan", "--format", "json", "--output", file]).code, 3);
    assert_eq!(pfnwatch(good.path(), &["scan", "--against", file]).code, 0);
    for (wrong, expected) in [(["--against", "/proc/self/cmdline"], 2), (["--against", "/none"], 1)] {
        assert_eq!(pfnwatch(good.path(), &["scan", wrong[0], wrong[1]]).code, expected, "{wrong:?}");
    }
    assert_eq!(pfnwatch(good.path(), &["scan", "--against", file, "--format", "csv"]).code, 2);
}

#[test]
fn a_prediction_is_what_the_formula_says() {
    let folder = regressed();
    let predict = |more: &[&str]| {
        let arguments: Vec<_> = ["predict", "--format", "json"].iter().chain(more).copied().collect();
        pfnwatch(folder.path(), &arguments)
    };
    let output = predict(&["--size", "1TiB", "--start", "4G", "--max-struct-page", "128"]);
    let answer = output.json();
    assert_eq!(output.code, 3);
    for (row, mib) in [("this_kernel", 32770_u64), ("good_kernel", 16386), ("other_map", 2)] {
        assert_eq!(answer[row]["reservation_bytes"], Value::from(mib << 20), "{row}");
    }
    let output = predict(&["--region", "region0", "--align", "1G", "--max-struct-page", "64"]);
    let answer = output.json();
    assert_eq!((output.code, &answer["request"]["size_bytes"]), (0, &Value::from(64 * GIB)));
    let output = predict(&["--size", "1000001K", "--ndctl-size", "--max-struct-page", "64"]);
    assert_eq!(output.json()["request"]["size_bytes"], Value::from(GIB - (32 << 20)));
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
        &["predict", "--device", "dax0.0"],
        &["predict", "--device", "dax9.9", "--mode", "devdax"],
        &["predict", "--device", "dax9.9", "--mode", "devdax", "--size", "1T"],
        &["predict", "--size", "1T", "--mode", "system-ram"],
        &["plan", "namespace7.7"],
        &["scan", "--format", "xml"],
    ] {
        let output = pfnwatch(folder.path(), arguments);
        assert_eq!(output.code, 2, "{arguments:?} {}", output.error);
        assert!(output.text.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_plan_prints_and_never_acts() {
    let folder = regressed();
    let output = pfnwatch(folder.path(), &["plan", "--max-struct-page", "128"]);
    assert_eq!(output.code, 3);
    let plan = output.text;
    for line in ["ndctl create-namespace --reconfig=namespace0.0", "ndctl write-infoblock", "--map=mem", "back up"] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    let plan = pfnwatch(folder.path(), &["plan", "--max-struct-page", "64", "--format", "json"]).json();
    assert_eq!((&plan["schema"], &plan["steps"][0]["excess_bytes"]), (&1.into(), &(256 << 20).into()));
}

#[test]
fn a_plan_is_written_as_a_script_once() {
    let folder = regressed();
    let file = folder.path().join("plan.sh");
    let arguments = ["plan", "--max-struct-page", "64", "--script", file.to_str().unwrap()];
    assert_eq!(pfnwatch(folder.path(), &arguments).code, 3);
    let script = std::fs::read_to_string(&file).unwrap();
    assert!(script.starts_with("#!/bin/sh\n") && script.contains("pfnwatch_same namespace0.0 uuid="), "{script}");
    assert_eq!(pfnwatch(folder.path(), &arguments).code, 1, "a file that is there is not overwritten");
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
        (output.code, output.json()["namespaces"][0].clone())
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
        pfnwatch(folder.path(), &size).text
    };
    assert!(predict("6.18.15+deb13-amd64\n").contains("suspected to lose that DRAM at each disable"));
    assert!(!predict("6.12.107+deb13-amd64\n").contains("suspected"));
}

#[test]
fn a_thousand_namespaces() {
    let folder = host(|tree| tree.crowd(1000));
    let output = pfnwatch(folder.path(), &["scan", "--format", "json"]);
    let report = output.json();
    assert_eq!(output.code, 3);
    assert_eq!(report["namespaces"].as_array().unwrap().len(), 1000);
    assert_eq!((&report["totals"]["oversize"], &report["totals"]["unknown"]), (&63.into(), &0.into()));
    assert_eq!(report["totals"]["excess_bytes"], Value::from(63 * (256_u64 << 20)));
}

/// What the seeds offer counts, else what the architecture does.
#[test]
fn a_prediction_takes_the_aligns_that_the_kernel_offers() {
    let predict = |folder: &TempDir, more: &[&str]| {
        let usual = ["predict", "--size", "64GiB", "--max-struct-page", "64", "--format", "json"];
        pfnwatch(folder.path(), &[&usual[..], more].concat())
    };
    let bare = tempfile::tempdir().unwrap();
    for align in ["1", "512", "64K", "16M", "128M", "2G", "16G"] {
        assert_eq!(predict(&bare, &["--align", align]).code, 2, "{align}");
    }
    for align in ["4K", "2M", "1G"] {
        assert_eq!(predict(&bare, &["--align", align]).code, 0, "{align}");
    }
    let realtime = host(|tree| {
        tree.region(0, 4 * GIB, 64 * GIB)?;
        tree.write("pfn0.0", &[("supported_alignments", "4096")])
    });
    assert_eq!(predict(&realtime, &["--align", "2M"]).code, 2);
    assert_eq!(predict(&realtime, &[]).json()["request"]["align_bytes"], 4096, "PREEMPT_RT");
    assert_eq!(predict(&bare, &[]).json()["request"]["align_bytes"], 2 << 20);
}

#[test]
fn a_prediction_finds_the_size_to_type() {
    let folder = regressed();
    let predict = |more: &[&str]| {
        let usual = ["predict", "--region", "region0", "--format", "json", "--max-struct-page", "64"];
        pfnwatch(folder.path(), &[&usual[..], more].concat()).json()
    };
    let usable = predict(&["--usable", "10GiB"]);
    let (size, gained) = (&usable["request"]["size_bytes"], &usable["this_kernel"]["usable_bytes"]);
    assert_eq!((size.as_u64(), gained.as_u64()), (Some(10_921_967_616), Some(10_750_001_152)), "{usable}");
    assert!(usable["notes"].to_string().contains("--size=10921967616"), "{usable}");
    // In the tree all of its 64 GiB are free in one stretch.
    assert_eq!(predict(&["--percent", "50"])["request"]["size_bytes"], 32 * GIB);
    let pieces = predict(&["--size", "8GiB", "--pieces-of", "1GiB"]);
    assert_eq!((&pieces["pieces"]["pieces"], &pieces["pieces"]["piece_bytes"]), (&7.into(), &GIB.into()), "{pieces}");
    assert_eq!(predict(&["--size", "8GiB"])["pieces"], Value::Null);
}

/// Files and trees that are broken: a clear line and exit code 1, and the rest of the host is unaffected.
#[test]
fn bad_input_ends_with_a_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let arena = [&[0; 4096][..], b"BTT_ARENA_INFO\0\0", &[0; 4080]].concat();
    let cut = [b"NVDIMM_DAX_INFO\0".as_slice(), &[0; 1000]].concat();
    for (name, bytes) in [("empty", &[][..]), ("text", b"NVDIMM"), ("arena", &arena), ("cut", &cut)] {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let output = pfnwatch(folder.path(), &["superblock", file.to_str().unwrap()]);
        assert_eq!((output.code, output.text.as_str()), (1, ""), "{name}");
        assert!(output.error.contains("no info block") && output.error.lines().count() == 1, "{}", output.error);
    }
    let missing = pfnwatch(folder.path(), &["superblock", "/nonexistent/block"]);
    assert_eq!(missing.code, 1, "{}", missing.error);
    let kernel = pfnwatch(folder.path(), &["kernel", folder.path().join("text").to_str().unwrap()]);
    assert_eq!(kernel.code, 1, "{}", kernel.error);

    let odd = host(|tree| {
        tree.region(0, 4 * GIB, 8192)?;
        tree.namespace(&Pmem::default())?;
        for (name, size) in
            [("namespace0.1", "-1"), ("namespace0.2", ""), ("namespace0.3", "0x"), ("namespace0.4", "8192")]
        {
            tree.write(name, &[("mode", "memory"), ("size", size), ("holder", "../../pfn0.1")])?;
        }
        tree.write("namespace0.x", &[("mode", "memory"), ("size", "4096")])?;
        tree.write("region0 odd", &[("size", "4096")])
    });
    let scan = pfnwatch(odd.path(), &["scan", "--format", "json"]);
    let report = scan.json();
    let verdict = |namespace: &str| {
        let rows = report["namespaces"].as_array().unwrap();
        rows.iter().find(|row| row["namespace"] == namespace).map(|row| row["verdict"].clone())
    };
    assert_eq!((scan.code, verdict("namespace0.0")), (0, Some("ok".into())), "{report:#}");
    for broken in ["namespace0.1", "namespace0.2", "namespace0.3", "namespace0.4"] {
        assert_eq!(verdict(broken), Some("unknown".into()), "{broken}: {report:#}");
    }
    assert_eq!(verdict("namespace0.x"), None, "no name of the kernel's");
    for arguments in [&["--region", "region0", "--percent", "50"][..], &["--region", "region0", "--usable", "1GiB"]] {
        let usual = ["predict", "--max-struct-page", "64"];
        let output = pfnwatch(odd.path(), &[&usual[..], arguments].concat());
        assert_eq!((output.code, output.text.as_str()), (1, ""), "{}", output.error);
        assert_eq!(output.error.lines().count(), 1, "{}", output.error);
    }
}
