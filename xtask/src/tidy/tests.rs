//! One table for all rules: files that break a rule, and files that do not.

use std::collections::BTreeMap;

use super::code::LIST as CODE;
use super::dependencies::{LINTS, REASONED, USED};
use super::documents::{LANGUAGE, LEFT_OVER, NO_TEST, NOT_RUN, PROMPT};
use super::links::{FAULTS, FAULTS_TABLE, LINKS};
use super::rooms::{
    COMPLETE, DOCUMENT, DOCUMENTED, HEAD, IMPORTS, LIB, MAIN, NAMED_ROOM, NO_CYCLE, ONE_TRANSLATOR, ONLY, PARSED, PURE,
    PURPOSE, TABLE,
};
use super::source::Source;
use super::words::{CONSTANTS, EXCEPTIONS, LIST, MARKED, SHRINKS, WORDS};
use super::*;

const ROOMS: &str = "pure = [\"policy\"]\n[only]\naya = [\"bpf\"]\nclap = [\"main\"]\n[rooms]\nmodel = []\n\
    policy = [\"model\"]\nstore = [\"model\"]\nkernel = []\nbpf = [\"model\"]\n\
    cli = [\"store\", \"model\", \"testing::trees\"]\n\"testing::trees\" = [\"model\"]\nmain = [\"cli\"]\n";
const ROOT: &str =
    "//! A.\nmod model;\nmod policy;\nmod store;\nmod kernel;\nmod bpf;\nmod cli;\n#[cfg(test)]\nmod testing;\n";
const DOCUMENTED_ROOMS: &str = "| room | contains | may import |\n|---|---|---|\n| `model/` | | – |\n\
    | `policy/` | | model |\n| `store/` | | model |\n| `kernel/` | | – |\n| `bpf/` | | model |\n\
    | `cli/` | | store, model |\n\nEnd\n";
const MANIFEST: &str =
    "[workspace.dependencies]\nanyhow = \"1\"\nours = { path = \"ours\" }\n[profile.release]\nlto = true\n";
const REASONS: &str =
    "# A\n| crate | used for | why this one |\n|---|---|---|\n| `anyhow` | errors | known |\n\n| b | c |\n";
const PHRASES: &str = "[[phrase]]\nphrases = [\"anew\", \"held against\"]\ninstead = \"again\"\n\
    [[constant]]\nwords = [\"MOST\"]\ninstead = \"MAX_*\"\n";

const MODEL: &str = "pfnwatch/src/model.rs";
const STORE: &str = "pfnwatch/src/store.rs";
const LOG: &str = "pfnwatch/src/store/log.rs";
const COMPILE: &str = "pfnwatch/src/policy/compile.rs";
const LOAD: &str = "pfnwatch/src/bpf/load.rs";
const DECODE: &str = "pfnwatch/src/bpf/decode.rs";
const LAYOUT: &str = "pfnwatch/src/kernel/layout.rs";
const TREES: &str = "pfnwatch/tests/support/trees.rs";

/// The violations of a tree in order, with other files, or other texts of them; the text `gone` removes a file.
fn violations_with(changed: &[(&str, &str)]) -> Vec<Violation> {
    let tests_of_pages = format!("{}(\"docs/a.md\", false)", documents::RUNS_PAGE);
    let mut files = BTreeMap::from([
        (TABLE, ROOMS),
        (LIB, ROOT),
        (MAIN, "//! A.\nuse pfnwatch::cli::Cli;"),
        (MODEL, "//! What all rooms know.\nmod event;"),
        ("pfnwatch/src/model/event.rs", ""),
        (STORE, "//! Where events are.\nmod log;\nuse crate::model::Event;"),
        (LOG, ""),
        ("pfnwatch/src/policy.rs", "//! What is denied.\nmod compile;"),
        (COMPILE, ""),
        ("pfnwatch/src/kernel.rs", "//! The kernel.\nmod layout;"),
        (LAYOUT, ""),
        ("pfnwatch/src/bpf.rs", "//! The programs.\nmod decode;\nmod load;"),
        (DECODE, ""),
        (LOAD, ""),
        ("pfnwatch/src/cli.rs", "//! The command line.\nmod args;\nuse crate::store;"),
        ("pfnwatch/src/cli/args.rs", "use super::Cli;\nuse crate::model;"),
        ("pfnwatch/src/testing.rs", "#[path = \"../tests/support/trees.rs\"]\nmod trees;"),
        (TREES, "//! Made-up trees.\nuse pfnwatch::model;"),
        ("Cargo.toml", MANIFEST),
        ("CONTRIBUTING.md", REASONS),
        (FAULTS_TABLE, ""),
        (DOCUMENT, DOCUMENTED_ROOMS),
        (CODE, include_str!("../../code.toml")),
        ("tests/a.rs", "#[test]\nfn there() {}\nfn helper() {}\n    #[tokio::test]\n    async fn waits() {}\n"),
        (documents::TESTS, tests_of_pages.as_str()),
        (LIST, PHRASES),
        (EXCEPTIONS, ""),
    ]);
    files.extend(changed.iter().copied());
    violations(&Tree::of(files.into_iter().filter(|(_, text)| *text != "gone")))
}

/// Each change breaks this rule, and once.
fn breaks(rule: &str, path: &str, texts: &[&str]) {
    for text in texts {
        let found = violations_with(&[(path, text)]);
        assert_eq!(found.iter().filter(|it| it.rule == rule).count(), 1, "{path}: {text}\n{rule}\n{found:#?}");
    }
}

/// No change breaks the rule.
fn keeps(rule: &str, path: &str, texts: &[&str]) {
    for text in texts {
        let found = violations_with(&[(path, text)]);
        assert!(found.iter().all(|it| it.rule != rule), "{path}: {text}\n{found:#?}");
    }
}

/// What is printed of violations of this rule.
fn found(rule: &str, changed: &[(&str, &str)]) -> Vec<String> {
    let found = violations_with(changed).into_iter().filter(|it| it.rule == rule);
    found.map(|it| format!("{}:{} {}", it.file, it.line, it.found)).collect()
}

#[test]
fn a_tree_in_order_breaks_no_rule() {
    let found = violations_with(&[]);
    assert!(found.iter().all(|it| it.rule == LEFT_OVER), "{found:#?}");
}

#[test]
fn rooms_import_what_the_table_allows() {
    for import in [
        "use crate::cli::Cli;",
        "use pfnwatch::cli::Cli;",
        "use super::{cli::Cli, model};",
        "fn f() { crate::cli::run() }",
        "#[cfg(test)] mod tests { use super::super::cli; }",
        "#[serde(with = \"crate::cli\")] struct A;",
        "fn f() { vec![crate::cli::run()] }",
    ] {
        let text = format!("//! Where events are.\nmod log;\n{import}");
        let edges = found(IMPORTS, &[(STORE, &text)]);
        assert!(edges.len() == 1 && edges[0].starts_with("pfnwatch/src/store.rs:3 store -> cli ("), "{edges:?}");
    }
    breaks(IMPORTS, LOG, &["use crate::cli;"]);
    breaks(IMPORTS, MAIN, &["use pfnwatch::{cli, store::Store};"]);
    breaks(IMPORTS, TREES, &["use pfnwatch::store::Store;"]);
    let testing = "#[path = \"../tests/support/trees.rs\"]\nmod trees;\nuse trees::Tree;";
    breaks(IMPORTS, "pfnwatch/src/testing.rs", &[testing]);
    let paths = [
        "use crate::*;",
        "use crate as root;",
        "use super::super::*;",
        "use crate::Event;",
        "use crate::testing::Tree;",
    ];
    breaks(NAMED_ROOM, LOG, &paths);
}

#[test]
fn the_table_of_rooms_is_that_of_tree_and_document() {
    let with_model = |imports: &str| ROOMS.replace("model = []", &format!("model = [{imports}]"));
    breaks(NO_CYCLE, TABLE, &[&with_model("\"cli\""), &with_model("\"os\"")]);
    let gone = ROOMS.replace("\"policy\"]\n[only]", "\"absent\"]\n[only]");
    breaks(COMPLETE, TABLE, &[&gone]);
    breaks(COMPLETE, LIB, &[&ROOT.replace("#[cfg(test)]\nmod testing;\n", "")]);
    let more = format!("{ROOT}mod os;");
    assert_eq!(
        found(COMPLETE, &[(LIB, &more), ("pfnwatch/src/os.rs", "")]),
        ["pfnwatch/src/os.rs:0 module os has no row"]
    );
    breaks(PARSED, COMPILE, &["gone", "use {"]);
    breaks(PURPOSE, MODEL, &["", "//! events", "//! Events", "//!\n//! Events."]);
    keeps(PURPOSE, MODEL, &["//! Events, and\n//! more. And\n//! more"]);
    let row = "| `cli/` | | store, model |";
    let others = ["", "| `cli/` | | store |", "| `cli/` | | model, store |", &format!("{row}\n| `os/` | | – |")];
    breaks(
        DOCUMENTED,
        DOCUMENT,
        &others.map(|other| DOCUMENTED_ROOMS.replace(row, other)).each_ref().map(String::as_str),
    );
    assert!(DOCUMENTED_ROOMS.starts_with(HEAD));
}

#[test]
fn modules_use_what_is_theirs() {
    let record = "use pfnwatch_common::record::SetupPfn;\n";
    let both = &format!("{record}use crate::model::event::Event;");
    breaks(ONE_TRANSLATOR, LOG, &[record, both]);
    breaks(ONE_TRANSLATOR, LOAD, &[both, &both.replace("crate::model::event", "super::super::model::event")]);
    keeps(ONE_TRANSLATOR, LOAD, &[record]);
    keeps(ONE_TRANSLATOR, DECODE, &[both]);
    keeps(ONE_TRANSLATOR, TREES, &[both]);
    keeps(ONE_TRANSLATOR, LOG, &["#[cfg(test)]\nmod tests { use pfnwatch_common::record::A; }"]);
    let impure = [
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
    ];
    breaks(PURE, COMPILE, &impure);
    keeps(PURE, LOG, &impure);
    let values = "fn f(now: SystemTime) {}\nuse std::{fmt, time::{Duration, SystemTime}};\nuse std::net::SocketAddr;\n\
        use nix::errno::Errno;\n// std::fs\nfn f() -> std::io::Result<()> {}";
    keeps(PURE, COMPILE, &[values, "fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}"]);
    let in_tests = "#[cfg(test)]\nmod tests { use aya::Ebpf; }";
    breaks(ONLY, LOG, &["use aya::maps::RingBuf;", in_tests, "#[derive(clap::Args)]\nstruct A;"]);
    keeps(ONLY, LOAD, &["use aya::Ebpf;"]);
    keeps(ONLY, LOG, &["use crate::bpf::aya_version;"]);
}

/// The rule of code.toml that begins so.
fn code_rule(begin: &str) -> String {
    let list: toml::Table = toml::from_str(include_str!("../../code.toml")).unwrap();
    let mut rules = list["rule"].as_array().unwrap().iter().map(|rule| rule["rule"].as_str().unwrap());
    rules.find(|rule| rule.starts_with(begin)).unwrap().to_owned()
}

#[test]
fn code_is_where_it_belongs() {
    let loader = &code_rule("only pfnwatch/src/bpf uses aya");
    keeps(loader, "tests/src/bpf/empty.rs", &["use aya::Ebpf;"]);
    breaks(loader, "tests/src/agent.rs", &["use aya::Ebpf;"]);
    breaks(loader, "xtask/src/a.rs", &["fn f() { aya_log::EbpfLogger::init(); }"]);
    keeps(loader, "pfnwatch-common/src/layout.rs", &["unsafe impl aya::Pod for A {}"]);
    let one_reader = &code_rule("in pfnwatch-ebpf only src/kernel");
    let reader = "use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_probe_read_kernel};";
    breaks(one_reader, "pfnwatch-ebpf/src/probes/setup_pfn.rs", &[reader]);
    keeps(one_reader, "pfnwatch-ebpf/src/kernel/nd_pfn.rs", &[reader]);
    keeps(one_reader, "pfnwatch-ebpf/src/emit.rs", &["use aya_ebpf::helpers::bpf_ktime_get_ns;"]);
    let no_versions = &code_rule("kernel versions");
    let versions = [
        "fn f() { if facts.kernel_version >= KernelVersion::new(6, 19) {} }",
        "fn f() { let old = host.release < other; }",
        "fn f() { if release.starts_with(\"5.10\") {} }",
        "fn f() { kernel.release == \"6.1.0\" }",
        "fn f() { assert!(release >= (6, 1)); }",
    ];
    breaks(no_versions, LOG, &versions);
    keeps(no_versions, "pfnwatch/src/kernel/features.rs", &versions);
    let others = [
        "struct A { release: Option<KernelVersion> }",
        "fn f() { if boot.release != last.release {} }",
        "// release < 6.1",
        "fn f() { let released = a < b; }",
    ];
    keeps(no_versions, LOG, &others);
    let one_parser = &code_rule("only pfnwatch/src/kernel/btf");
    breaks(one_parser, LOAD, &["const MAGIC: u16 = 0xEB9F;"]);
    keeps(one_parser, "pfnwatch/src/kernel/btf/section.rs", &["const MAGIC: u16 = 0xEB9F;"]);
    let no_defaults = &code_rule("there are no default offsets");
    let offsets = [
        "fn f() { let uuid = member(\"uuid\").unwrap_or(8); }",
        "fn f() { let uuid = member(\"uuid\").unwrap_or_else(|| 8); }",
        "fn f() { let uuid = known.or(FieldOffset::new(8)); }",
        "fn f() { let layout = Layout { mode: FieldOffset::new(776)? }; }",
        "const DEV: FieldOffset = FieldOffset(8);",
        "impl Default for Layout {}",
        "fn f() { let row = Row { offset: 16 }; }",
    ];
    breaks(no_defaults, LAYOUT, &offsets);
    breaks(no_defaults, "pfnwatch/src/kernel/layout/table.rs", &offsets);
    keeps(no_defaults, "pfnwatch/src/kernel/layout/tests.rs", &offsets);
    keeps(no_defaults, LOG, &offsets);
    let none = "pub const MISSING: Self = Self(u32::MAX);\nconst LONG: Width = Bytes(&[8]);\n\
        fn f() { Some(Self(bytes)) // or(8)\n}\nfn g() { why.unwrap_or(Why::NoMember) }\n";
    keeps(no_defaults, "pfnwatch-common/src/layout.rs", &[none]);
}

#[test]
fn links_lead_somewhere() {
    let astray = "a\n[c](c.md) [d](/README.md)\n\n[e][1]\n\n[1]: e.md";
    let expected = ["docs/a.md:2 links to c.md", "docs/a.md:2 links to /README.md", "docs/a.md:4 links to e.md"];
    assert_eq!(found(LINKS, &[("docs/a.md", astray)]), expected);
    let fine =
        "[f](faults.md#part) [r](../Cargo.toml) [w](https://a/b) [h](#here) [t](..) `[x](y)`\n```sh\n[x](y)\n```\n";
    keeps(LINKS, "docs/a.md", &[fine]);
}

#[test]
fn faults_have_their_tests() {
    let row = |tests: &str| format!("| what | does | test |\n|---|---|---|\n| a | b | {tests} |\n");
    keeps(FAULTS, FAULTS_TABLE, &[&row("[`there`](../tests/a.rs), [`waits`](../tests/a.rs)")]);
    let there = "[`there`](../tests/a.rs)";
    for tests in
        [&format!("{there}, [`gone`](../tests/a.rs)"), "[`helper`](../tests/a.rs)", "[`there`](../tests/b.rs)", "none"]
    {
        breaks(FAULTS, FAULTS_TABLE, &[&row(tests)]);
    }
    breaks(FAULTS, FAULTS_TABLE, &["gone"]);
}

#[test]
fn dependencies_have_reasons_and_uses() {
    breaks(
        REASONED,
        "Cargo.toml",
        &[&MANIFEST.replace("ours =", "libc = \"1\"\nours ="), &MANIFEST.replace("anyhow", "# a")],
    );
    let source = ("a/src/c.rs", "use anyhow::Result;\nuse {a, b, libc};");
    let member = |rule, text| found(rule, &[("a/Cargo.toml", text), source]);
    let good = "[dependencies]\nanyhow.workspace = true\na = { workspace = true }\nb = { path = \"b\" }\n";
    assert!(member(USED, good).is_empty());
    let unused = "[dev-dependencies]\nserde-json.workspace = true\n";
    assert_eq!(member(USED, unused), ["a/Cargo.toml:0 serde-json"]);
    assert!(member(USED, &unused.replace("true", "true # for a feature")).is_empty());
    breaks(LINTS, "xtask/Cargo.toml", &["\n[lints]\n[x]\nworkspace = true\n"]);
    keeps(LINTS, "xtask/Cargo.toml", &["[package]\nname = \"a\"\n[lints]\nworkspace = true\n"]);
}

#[test]
fn commands_of_documents_are_run_or_listed() {
    let fine = "```console\n# pfnwatch scan\nsaid\n```\n```sh\ncargo xtask demo  # shows it\n```\n";
    [LANGUAGE, PROMPT, NOT_RUN, NO_TEST].iter().for_each(|rule| keeps(rule, "docs/a.md", &[fine]));
    breaks(NOT_RUN, "docs/a.md", &["```sh\npfnwatch scan\n```\n"]);
    breaks(PROMPT, "docs/a.md", &["```json\n$ pfnwatch scan\n{}\n```\n", "```console\npfnwatch scan\n```\n"]);
    breaks(NO_TEST, "docs/a.md", &["```console regressed\n# pfnwatch scan\n```\n"]);
    breaks(LANGUAGE, "docs/a.md", &["```\n$ pfnwatch scan\n```\n"]);
    let listed = |text: &str| found(LEFT_OVER, &[("docs/a.md", text), ("docs", "")]).len();
    assert_eq!(listed(""), listed(fine) + 1);
}

#[test]
fn tables_of_the_rules_can_be_read() {
    for table in [TABLE, CODE, LIST] {
        for text in ["gone", "a = 1"] {
            assert!(violations_with(&[(table, text)]).iter().any(|it| it.file == table && it.rule.contains("tables")));
        }
    }
}

#[test]
fn words_of_the_list_are_found_in_prose() {
    let phrases = [
        "read it Anew.",
        "it is 'anew'",
        "_anew_",
        "a\nanew",
        "is held\nagainst it",
        "* held  against: it",
        "\"anew\"",
        "```sh\nanew\n```",
    ];
    breaks(WORDS, "a.md", &phrases);
    keeps(WORDS, "a.md", &["renew it", "`anew`", "held. Against", "held: against", "re-anew", "anew_is", "{anew:?}"]);
    breaks(WORDS, "a.toml", &["# anew"]);
    keeps(WORDS, "a.lock", &["# anew"]);
    breaks(
        WORDS,
        "a.rs",
        &["/// Held\n/// against it.\nstruct A;", "// anew\n", "fn f() { g(\"anew\") }", "/* anew */", "//! anew"],
    );
    keeps(WORDS, "a.rs", &["fn anew() { held(against) }"]);
    assert_eq!(found(WORDS, &[("a.rs", "f! {  \"b anew\",  c }")]), ["a.rs:1 \"anew\" (write: again) | b anew\""]);
    breaks(CONSTANTS, "a.rs", &["pub const MOST_ROWS: u8 = 1;", "static MOST: u8 = 1;"]);
    keeps(CONSTANTS, "a.rs", &["const MOSTLY: u8 = MOST_ROWS;\nconst fn f() {}"]);
}

#[test]
fn words_are_allowed_with_a_reason_or_as_an_exception() {
    let quoted = "<!-- words: allow (a quotation) -->\nanew\n`words: allow`";
    let allowed = ["// words: allow (a quotation)\n// anew\n", "// anew words: allow (a quotation)\n"];
    [WORDS, MARKED].iter().for_each(|rule| keeps(rule, "a.rs", &allowed));
    [WORDS, MARKED].iter().for_each(|rule| keeps(rule, "a.md", &[quoted]));
    breaks(MARKED, "a.md", &["anew words: allow ()", "anew words: allow", "words: allow (a quotation)\n"]);
    breaks(WORDS, "a.md", &["words: allow (a quotation)\n\nanew"]);
    let excepted =
        |rule, path, text| found(rule, &[(path, text), (EXCEPTIONS, "read it anew\nconst MOST_ROWS\n")]).len();
    assert_eq!(
        excepted(WORDS, "a.md", "  read  it anew\n") + excepted(CONSTANTS, "docs/b.rs", "const MOST_ROWS: u8 = 1;"),
        0
    );
    assert_eq!((excepted(WORDS, "a.md", "read it anew, too"), excepted(SHRINKS, "a.md", "read it anew")), (1, 1));
    breaks(SHRINKS, EXCEPTIONS, &["b anew\n"]);
}

fn paths_in(source: &str) -> Vec<String> {
    Source::read(source).named.into_iter().map(|named| named.path).collect()
}

#[test]
fn code_and_prose_are_separated() {
    let source = "/// A é\nfn f() { // b\n    g(\"c\\n d\", r#\"e\"#, 'f', b\"g\", 0xAB); /* h\n */ i::<'j>() }\n\
        #[doc = \"k\"]\n#[cfg(test)]\nmod tests { const L: u8 = 0; }\n";
    let Source { code, prose, .. } = Source::read(source);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(&code), "fn f() { g(\" , r#\" , , b\" , 0xAB); i::<'j>() }");
    assert_eq!(words(&prose), "/// A é // b c\\n d\" e\"# 'f' g\" /* h */ k\"");
    assert_eq!(prose.lines().count(), source.lines().count());
    assert!(Source::read("fn f( {").code.is_empty());
}

#[test]
fn paths_are_found_wherever_code_names_them() {
    let imports = "use std::{fs, io::{self, Read}, time::*};\nuse ::aya::Ebpf as E;\npub(crate) use a::b;";
    assert_eq!(paths_in(imports), ["std::fs", "std::io", "std::io::Read", "std::time::*", "aya::Ebpf", "a::b"]);
    for source in [
        "fn f() { crate::a::b(1); }",
        "fn f(x: Vec<crate::a::b>) {}",
        "fn f() -> impl Fn() -> u8 + use<'_> { crate::a::b }",
        "fn f() { println!(\"{}\", crate::a::b); }",
        "macro_rules! m { () => { $crate::a::b() } }",
        "struct S { #[serde(with = \"crate::a::b\")] x: u8 }",
        "#[error(\"it's\", crate::a::b)] struct S;",
        "impl crate::a::b for S {}",
        "pub(in crate::a::b) struct S;",
        "fn f() { <crate::a::b as Into<u8>>::into(x) }",
    ] {
        assert!(paths_in(source).contains(&"crate::a::b".to_owned()), "{source}");
    }
    assert!(paths_in("/// See [`crate::a::b`].\n// crate::a\nconst A: &str = \"crate::a::b\";").is_empty());
    let source = "use a::b;\n#[cfg(test)]\nmod tests {\n    use c::d;\n}\nfn f() {\n e::f() }\n#[serde(\n    with = \"g::h\")]\nstruct A;";
    let found = Source::read(source).named.into_iter().map(|named| (named.line, named.inline)).collect::<Vec<_>>();
    assert_eq!(found, [(1, String::new()), (4, "tests".into()), (7, String::new()), (8, String::new())]);
}
