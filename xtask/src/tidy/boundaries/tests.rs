use std::collections::BTreeMap;

use super::*;

const ROOMS: &str = "pure = [\"policy\"]\n[only]\naya = [\"bpf\"]\nclap = [\"main\"]\n[rooms]\n";

/// The rules that a file with this path and text breaks, by the first words of what they require.
fn broken(path: &str, text: &str) -> Vec<String> {
    let modules = "mod store;\nmod policy;\nmod kernel;\nmod bpf;\nmod model;\n#[cfg(test)]\nmod testing;\n";
    let mut files = BTreeMap::from([
        (TABLE, ROOMS),
        (LIB, modules),
        ("pfnwatch/src/store.rs", "mod log;"),
        ("pfnwatch/src/store/log.rs", ""),
        ("pfnwatch/src/policy.rs", "mod compile;"),
        ("pfnwatch/src/policy/compile.rs", ""),
        ("pfnwatch/src/kernel.rs", "mod layout;"),
        ("pfnwatch/src/kernel/layout.rs", ""),
        ("pfnwatch/src/bpf.rs", "mod decode;\nmod load;"),
        ("pfnwatch/src/bpf/decode.rs", ""),
        ("pfnwatch/src/bpf/load.rs", ""),
        ("pfnwatch/src/model.rs", "mod event;"),
        ("pfnwatch/src/model/event.rs", ""),
        ("pfnwatch/src/testing.rs", ""),
    ]);
    files.insert(path, text);
    let files: Vec<(&str, &str)> = files.into_iter().collect();
    let words = |violation: &Violation| violation.rule.requirement.split(' ').take(3).collect::<Vec<_>>().join(" ");
    check(&Tree::of(&files)).iter().map(words).collect()
}

const RECORD: &str = "use pfnwatch_common::record::SetupPfn;\n";
const BOTH: &str = "use pfnwatch_common::record::SetupPfn;\nuse crate::{model::event::Event, store};\n";

#[test]
fn only_decode_knows_records_and_events() {
    let expected = ["a wire record"];
    assert_eq!(broken("pfnwatch/src/store.rs", &format!("mod log;\n{RECORD}")), expected);
    assert_eq!(broken("pfnwatch/src/store/log.rs", &BOTH.replace("crate::{", "super::super::{")), expected);
    assert_eq!(broken("pfnwatch/src/bpf/load.rs", BOTH), expected);
    assert!(broken("pfnwatch/src/bpf/load.rs", RECORD).is_empty());
    assert!(broken("pfnwatch/src/bpf/decode.rs", BOTH).is_empty());
    assert!(broken("pfnwatch/src/testing.rs", BOTH).is_empty());
    assert!(
        broken("pfnwatch/src/store/log.rs", "#[cfg(test)]\nmod tests { use pfnwatch_common::record::A; }").is_empty()
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
        "fn f() { std::thread::sleep(t) }",
        "use tokio::time::sleep;",
        "use nix::{errno, unistd};",
        "use std::net::{SocketAddr, TcpStream};",
    ] {
        assert_eq!(broken("pfnwatch/src/policy/compile.rs", text), ["the modules listed"], "{text}");
        assert!(broken("pfnwatch/src/store/log.rs", text).is_empty(), "{text}");
    }
    let pure = "fn f(now: SystemTime) {}\nuse std::{fmt, time::{Duration, SystemTime}};\nuse std::collections::BTreeMap;\nuse std::net::SocketAddr;\nuse nix::errno::Errno;\n// std::fs\nfn f() -> std::io::Result<()> {}";
    assert!(broken("pfnwatch/src/policy/compile.rs", pure).is_empty());
}

#[test]
fn tests_of_a_pure_module_may_read_files() {
    let text = "fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}";
    assert!(broken("pfnwatch/src/policy/compile.rs", text).is_empty());
}

#[test]
fn crates_are_used_where_the_table_says() {
    let expected = ["a crate listed"];
    assert_eq!(broken("pfnwatch/src/store/log.rs", "use aya::maps::RingBuf;"), expected);
    assert_eq!(broken("pfnwatch/src/store/log.rs", "#[cfg(test)]\nmod tests { use aya::Ebpf; }"), expected);
    assert_eq!(broken("pfnwatch/src/store/log.rs", "#[derive(clap::Args)]\nstruct A;"), expected);
    assert!(broken("pfnwatch/src/bpf/load.rs", "use aya::Ebpf;").is_empty());
    assert!(broken("pfnwatch/src/store/log.rs", "use crate::bpf::aya_version;").is_empty());
    assert!(broken("tests/src/bpf/empty.rs", "use aya::Ebpf;").is_empty());
    assert_eq!(broken("tests/src/agent.rs", "use aya::Ebpf;"), expected);
    assert_eq!(broken("xtask/src/a.rs", "fn f() { aya_log::EbpfLogger::init(); }"), expected);
    assert!(broken("pfnwatch-common/src/layout.rs", "unsafe impl aya::Pod for A {}").is_empty());
}

#[test]
fn modules_of_the_table_are_in_the_tree() {
    assert_eq!(broken(TABLE, "pure = [\"gone\"]\n[rooms]\n"), ["a module that"]);
}

#[test]
fn one_place_reads_kernel_memory() {
    let text = "use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel};";
    assert_eq!(broken("pfnwatch-ebpf/src/probes/setup_pfn.rs", text), ["in pfnwatch-ebpf only"]);
    assert!(broken("pfnwatch-ebpf/src/kernel/nd_pfn.rs", text).is_empty());
    assert!(broken("pfnwatch-ebpf/src/emit.rs", "use aya_ebpf::helpers::bpf_ktime_get_ns;").is_empty());
}

#[test]
fn versions_are_compared_in_one_place() {
    for text in [
        "fn f() { if facts.kernel_version >= KernelVersion::new(6, 19) {} }",
        "fn f() { let old = host.release < other; }",
        "fn f() { if release.starts_with(\"5.10\") {} }",
        "fn f() { kernel.release == \"6.1.0\" }",
        "fn f() { assert!(release >= (6, 1)); }",
    ] {
        assert_eq!(broken("pfnwatch/src/store/log.rs", text), ["kernel versions are"], "{text}");
        assert!(broken("pfnwatch/src/kernel/features.rs", text).is_empty(), "{text}");
    }
    for text in [
        "struct A { release: Option<KernelVersion> }",
        "fn f() { if boot.release != last.release {} }",
        "// release < 6.1",
        "fn f() { let released = a < b; }",
    ] {
        assert!(broken("pfnwatch/src/store/log.rs", text).is_empty(), "{text}");
    }
}

#[test]
fn one_place_parses_btf() {
    let text = "const MAGIC: u16 = 0xEB9F;";
    assert_eq!(broken("pfnwatch/src/bpf/load.rs", text), ["only pfnwatch/src/kernel/btf parses"]);
    assert!(broken("pfnwatch/src/kernel/btf/section.rs", text).is_empty());
}

#[test]
fn offsets_that_somebody_wrote_down() {
    for text in [
        "fn f() { let uuid = member(\"uuid\").unwrap_or(8); }",
        "fn f() { let uuid = member(\"uuid\").unwrap_or_else(|| 8); }",
        "fn f() { let uuid = known.or(FieldOffset::new(8)); }",
        "fn f() { let layout = Layout { mode: FieldOffset::new(776)? }; }",
        "const DEV: FieldOffset = FieldOffset(8);",
        "impl Default for Layout {}",
        "fn f() { let row = Row { offset: 16 }; }",
    ] {
        assert_eq!(broken("pfnwatch/src/kernel/layout.rs", text), ["there are no"], "{text}");
        assert_eq!(broken("pfnwatch/src/kernel/layout/table.rs", text), ["there are no"], "{text}");
        assert!(broken("pfnwatch/src/kernel/layout/tests.rs", text).is_empty(), "{text}");
        assert!(broken("pfnwatch/src/store/log.rs", text).is_empty(), "{text}");
    }
}

#[test]
fn widths_and_the_missing_offset_are_none() {
    let text = "pub const MISSING: Self = Self(u32::MAX);\nconst LONG: Width = Bytes(&[8]);\nfn f() { Some(Self(bytes)) // or(8)\n}\nfn g() { why.unwrap_or(Why::NoMember) }\n";
    assert!(broken("pfnwatch-common/src/layout.rs", text).is_empty());
}
