//! What the rules find: `cases.toml` has files that break a rule, and files that do not.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::code::LIST as CODE;
use super::dependencies::USED;
use super::documents::LEFT_OVER;
use super::links::LINKS;
use super::rooms::{COMPLETE, IMPORTS, LIB, TABLE};
use super::source::Source;
use super::words::{LIST, WORDS};
use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    /// Files that break no rule: paths and texts.
    tree: BTreeMap<String, String>,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Case {
    /// How the rule begins.
    rule: String,
    /// The files that get the texts, one after the other.
    files: Vec<String>,
    /// Files in which the texts that break the rule keep it.
    not_in: Vec<String>,
    /// Texts each of which breaks the rule once; "gone" removes the file.
    breaks: Vec<String>,
    keeps: Vec<String>,
    /// Parts of the file's own text with what breaks the rule instead.
    replaced: Vec<[String; 2]>,
}

fn cases() -> Cases {
    toml::from_str(include_str!("cases.toml")).unwrap()
}

/// The violations of the tree with other files, or other texts of them.
fn violations_with(changed: &[(&str, &str)]) -> Vec<Violation> {
    let tree = cases().tree;
    let mut files: BTreeMap<&str, &str> = tree.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    files.insert(CODE, include_str!("../../code.toml"));
    files.extend(changed.iter().copied());
    violations(&Tree::of(files.into_iter().filter(|(_, text)| *text != "gone")))
}

/// What is printed of violations of this rule.
fn found(rule: &str, changed: &[(&str, &str)]) -> Vec<String> {
    let found = violations_with(changed).into_iter().filter(|it| it.rule.starts_with(rule));
    found.map(|it| format!("{}:{} {}", it.file, it.line, it.found)).collect()
}

#[test]
fn rules_are_broken_and_kept() {
    let Cases { tree, case: cases } = cases();
    let mut broken = BTreeSet::new();
    for Case { rule, files, not_in, breaks, keeps, replaced } in &cases {
        let expect = |path: &str, text: &str, count: usize| {
            let found = found(rule, &[(path, text)]);
            assert_eq!(found.len(), count, "{rule} … {path}:\n{text}\n{found:#?}");
        };
        for path in files {
            breaks.iter().for_each(|text| expect(path, text, 1));
            keeps.iter().for_each(|text| expect(path, text, 0));
            replaced.iter().for_each(|[old, new]| expect(path, &tree[path].replace(old, new), 1));
            broken.extend(Some(rule).filter(|_| breaks.len() + replaced.len() > 0));
        }
        not_in.iter().for_each(|path| breaks.iter().for_each(|text| expect(path, text, 0)));
    }
    assert!(cases.iter().all(|case| broken.contains(&case.rule)), "a rule that no case breaks: {broken:#?}");
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
        let edges = found(IMPORTS, &[("pfnwatch/src/store.rs", &text)]);
        assert!(edges.len() == 1 && edges[0].starts_with("pfnwatch/src/store.rs:3 store -> cli ("), "{edges:?}");
    }
    let more = format!("{}mod os;", cases().tree[LIB]);
    let os = ("pfnwatch/src/os.rs", "");
    assert_eq!(found(COMPLETE, &[(LIB, &more), os]), ["pfnwatch/src/os.rs:0 module os has no row"]);
}

#[test]
fn links_are_found_with_their_lines() {
    let astray = "a\n[c](c.md) [d](/README.md)\n\n[e][1]\n\n[1]: e.md";
    let expected = ["docs/a.md:2 links to c.md", "docs/a.md:2 links to /README.md", "docs/a.md:4 links to e.md"];
    assert_eq!(found(LINKS, &[("docs/a.md", astray)]), expected);
}

#[test]
fn dependencies_are_used() {
    let source = ("a/src/c.rs", "use anyhow::Result;\nuse {a, b, libc};");
    let member = |rule, text| found(rule, &[("a/Cargo.toml", text), source]);
    let good = "[dependencies]\nanyhow.workspace = true\na = { workspace = true }\nb = { path = \"b\" }\n";
    assert!(member(USED, good).is_empty());
    let unused = "[dev-dependencies]\nserde-json.workspace = true\n";
    assert_eq!(member(USED, unused), ["a/Cargo.toml:0 serde-json"]);
    assert!(member(USED, &unused.replace("true", "true # for a feature")).is_empty());
}

#[test]
fn commands_that_no_document_shows_are_left_over() {
    let listed = |text: &str| found(LEFT_OVER, &[("docs/a.md", text), ("docs", "")]).len();
    assert_eq!(listed(""), listed("```sh\ncargo xtask demo  # shows it\n```\n") + 1);
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
fn words_are_found_with_their_line() {
    assert_eq!(found(WORDS, &[("a.rs", "f! {  \"b anew\",  c }")]), ["a.rs:1 \"anew\" (write: again) | b anew\""]);
    assert_eq!(found(WORDS, &[("a.sh", "b\n  # read it anew")]), ["a.sh:2 \"anew\" (write: again) | # read it anew"]);
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
