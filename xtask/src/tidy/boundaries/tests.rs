use super::*;

/// The rules that a file with this path and text breaks.
fn broken(path: &str, text: &str) -> Vec<&'static str> {
    check(&Tree::of(&[(path, text)])).into_iter().map(|violation| &violation.rule.says[..11]).collect()
}

const BOTH: &str = "use pfnwatch_common::record::SetupPfn;\nuse crate::{event::Event, journal};\n";

#[test]
fn only_decode_knows_records_and_events() {
    assert_eq!(broken("pfnwatch/src/agent.rs", BOTH), ["invariant 1"]);
    assert_eq!(broken("pfnwatch/src/sinks/log.rs", &BOTH.replace("crate::{", "super::super::{")), ["invariant 1"]);
    assert!(broken("pfnwatch/src/decode.rs", BOTH).is_empty());
    assert!(broken("pfnwatch/src/decode/setup.rs", BOTH).is_empty());
    assert!(
        broken("pfnwatch/src/source.rs", "use pfnwatch_common::record::SetupPfn;\nuse crate::eventual;").is_empty()
    );
}

#[test]
fn pure_modules_do_no_io() {
    for text in [
        "use std::{fmt, fs};",
        "fn f() { std::env::var(\"A\"); }",
        "fn f() { let now = Instant::now(); }",
        "fn f() { std::time::SystemTime::now(); }",
        "fn f() { start.elapsed() }",
        "use std::fs::*;",
        "use std::*;",
        "use tokio::time::sleep;",
        "use nix::unistd;",
    ] {
        assert_eq!(broken("pfnwatch/src/assess.rs", text), ["invariant 2"], "{text}");
        assert!(broken("pfnwatch/src/inventory.rs", text).is_empty(), "{text}");
    }
    let pure = "fn f(now: SystemTime) {}\nuse std::{fmt, time::{Duration, SystemTime}};\nuse std::collections::BTreeMap;\n// std::fs\nfn f() -> std::io::Result<()> {}";
    for module in ["decode/setup.rs", "assess.rs", "policy/compile.rs", "bpf/plan.rs", "kernel/layout.rs"] {
        assert!(broken(&format!("pfnwatch/src/{module}"), pure).is_empty(), "{module}");
        assert_eq!(broken(&format!("pfnwatch/src/{module}"), "use std::fs;"), ["invariant 2"], "{module}");
    }
}

#[test]
fn tests_of_a_pure_module_may_read_files() {
    assert!(broken("pfnwatch/src/decode.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}").is_empty());
}

#[test]
fn one_module_for_aya() {
    assert_eq!(broken("pfnwatch/src/agent.rs", "use aya::maps::RingBuf;"), ["invariant 3"]);
    assert_eq!(broken("pfnwatch/src/main.rs", "fn f() { aya_log::EbpfLogger::init(); }"), ["invariant 3"]);
    assert_eq!(broken("pfnwatch/src/kernel/layout.rs", "use aya_obj::btf::BtfType;"), ["invariant 3"]);
    assert!(broken("pfnwatch/src/bpf/load.rs", "use aya::Ebpf;").is_empty());
    assert!(broken("tests/src/bpf/empty.rs", "use aya::Ebpf;").is_empty());
    assert_eq!(broken("tests/src/agent.rs", "use aya::Ebpf;"), ["invariant 3"]);
    assert!(broken("pfnwatch-common/src/layout.rs", "unsafe impl aya::Pod for A {}").is_empty());
    assert!(broken("pfnwatch/src/main.rs", "use crate::bpf::aya_version;").is_empty());
}

#[test]
fn one_place_reads_kernel_memory() {
    let text = "use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel};";
    assert_eq!(broken("pfnwatch-ebpf/src/probes/setup_pfn.rs", text), ["invariant 4"]);
    assert!(broken("pfnwatch-ebpf/src/kernel/nd_pfn.rs", text).is_empty());
    assert!(broken("pfnwatch-ebpf/src/emit.rs", "use aya_ebpf::helpers::bpf_ktime_get_ns;").is_empty());
}

#[test]
fn versions_are_compared_in_two_places() {
    for text in [
        "if facts.kernel_version >= KernelVersion::new(6, 19) {",
        "let old = host.release < other;",
        "if release.starts_with(\"5.10\") {",
        "    kernel.release == \"6.1.0\"",
    ] {
        assert_eq!(broken("pfnwatch/src/assess.rs", text), ["invariant 5"], "{text}");
        assert!(
            broken("pfnwatch/src/kernel/features.rs", text).is_empty()
                && broken("pfnwatch/src/bpf/plan.rs", text).is_empty()
        );
    }
    for text in [
        "release: Option<KernelVersion>,",
        "if boot.release != last.release {",
        "// release < 6.1",
        "let released = a < b;",
    ] {
        assert!(broken("pfnwatch/src/assess.rs", text).is_empty(), "{text}");
    }
}
