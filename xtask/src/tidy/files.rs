//! Rules about single files: what they may name, what they are called, where their links lead.

use pulldown_cmark::{Event, Parser, Tag};

use super::rooms::ONLY;
use super::tree::{File, folder_of, join};
use super::{Rule, Tree, Violation, broken};

pub(super) const ONE_READER: Rule =
    "in pfnwatch-ebpf only src/kernel reads kernel memory: add a typed accessor to src/kernel and call it";
pub(super) const NO_VERSIONS: Rule = "kernel versions are compared in pfnwatch/src/kernel alone: ask BTF or a symbol \
    for the feature, or add the question to pfnwatch/src/kernel";
pub(super) const ONE_BTF_PARSER: Rule = "only pfnwatch/src/kernel/btf parses BTF: call it; add there what it lacks";
pub(super) const NO_DEFAULTS: Rule = "there are no default offsets, a missing one disables a program with a reason that \
    the user sees: leave the offset unknown, with its reason";
pub(super) const NO_MOD_RS: Rule = "a module is foo.rs + foo/, never mod.rs: move foo/mod.rs to foo.rs";
pub(super) const LINTS: Rule = "every member inherits the workspace's lints: add [lints] with `workspace = true`";
pub(super) const TOP_LEVEL: Rule = "the top level has the members, Cargo's files, documents, configuration of tools and \
    dot files: move it into the member that it belongs to";
pub(super) const NOTHING_POSTPONED: Rule = "nothing is postponed in the source: do it, or state in LIMITATIONS.md what \
    is missing and why";
pub(super) const LINKS: Rule = "a relative link of a document leads to a file of the tree: correct it, or add the file";
pub(super) const FAULTS: Rule = "each row of docs/faults.md ends with a link or more, whose text is a test of the file \
    that it leads to: name the test that injects the fault, as [`function`](../path/of/its/file.rs); without one, write it";

/// Put together so that this file does not break its own rule.
pub(super) const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const TOP: &str = "Cargo.lock Cargo.toml clippy.toml deny.toml docs pfnwatch pfnwatch-common pfnwatch-ebpf \
    rust-toolchain.toml rustfmt.toml tests xtask";
pub(super) const FAULTS_TABLE: &str = "docs/faults.md";

/// What code a rule looks at, outside of tests.
enum Unit {
    Path,
    Line,
}

/// A rule about code: the modules that it is about, those among them that it leaves out, and what breaks it.
struct CodeRule {
    rule: Rule,
    about: &'static [&'static str],
    but: &'static str,
    unit: Unit,
    breaks: fn(&str) -> bool,
}

const CODE: [CodeRule; 5] = [
    // Tests in guests and xtask have no rooms. (pfnwatch-common implements a trait of aya's.)
    CodeRule { rule: ONLY, about: &["tests", "xtask"], but: "tests/src/bpf", unit: Unit::Path, breaks: is_loader },
    CodeRule {
        rule: ONE_READER,
        about: &["pfnwatch-ebpf"],
        but: "pfnwatch-ebpf/src/kernel",
        unit: Unit::Path,
        breaks: |path| path.split("::").any(|segment| segment.starts_with("bpf_probe_read")),
    },
    CodeRule {
        rule: NO_VERSIONS,
        about: &["pfnwatch/src", "pfnwatch-ebpf/src", "pfnwatch-common/src"],
        but: "pfnwatch/src/kernel",
        unit: Unit::Line,
        breaks: compares_versions,
    },
    // Whoever parses BTF looks for its magic number.
    CodeRule {
        rule: ONE_BTF_PARSER,
        about: &["pfnwatch/src"],
        but: "pfnwatch/src/kernel/btf",
        unit: Unit::Line,
        breaks: |line| line.to_lowercase().contains("0xeb9f"),
    },
    CodeRule {
        rule: NO_DEFAULTS,
        about: &["pfnwatch-common/src/layout", "pfnwatch/src/kernel/layout"],
        but: "-",
        unit: Unit::Line,
        breaks: has_default_offset,
    },
];

fn is_loader(path: &str) -> bool {
    path.split_once("::").is_some_and(|(first, _)| ["aya", "aya_log", "aya_obj"].contains(&first))
}

/// Catches an order (`<`, `>=`, `cmp`, …) or a prefix asked of a word that means a kernel's version, and such a word
/// compared with a string literal. Whether two boots had the same release may be asked anywhere.
fn compares_versions(line: &str) -> bool {
    let words = ["release", "kernel_version", "KernelVersion", "LINUX_VERSION_CODE"];
    // rustfmt puts a space on both sides of an operator: generics have none.
    let asked = [" < ", " <= ", " > ", " >= ", ".cmp(", ".partial_cmp(", ".starts_with(", " == \"", " != \""];
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| words.contains(&word))
        && asked.iter().any(|operator| line.contains(operator))
}

/// A default in one of the two tables of offsets, by name or as a number in the source: behind a call that makes an
/// offset or replaces a missing one, a number or an offset was written by hand.
fn has_default_offset(line: &str) -> bool {
    let defaults = ["unwrap_or_default(", "Default", "default("];
    let makers =
        "FieldOffset::new(|FieldOffset(|Self::new(|Self(|offset: |offset = |unwrap_or(|map_or(|.or(".split('|');
    let is_offset =
        |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit()) || rest.starts_with("FieldOffset::new(");
    let after =
        |maker: &str| line.match_indices(maker).filter_map(|(at, _)| line.get(at + maker.len()..)).any(is_offset);
    defaults.iter().any(|default| line.contains(default)) || makers.chain(["unwrap_or_else(|| "]).any(after)
}

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found: Vec<Violation> = tree.paths.iter().filter_map(|path| top_level(path)).collect();
    for file in &tree.files {
        found.extend(shape(file));
        if file.path.ends_with(".rs") && !file.is_test() {
            found.extend(CODE.iter().flat_map(|rule| code(rule, file)));
        }
        if file.path.ends_with(".md") {
            found.extend(links(tree, file));
        }
    }
    let missing = || vec![broken(FAULTS, FAULTS_TABLE, 0, "is missing")];
    found.extend(tree.file(FAULTS_TABLE).map_or_else(missing, |table| faults(tree, table)));
    found
}

fn code(rule: &CodeRule, file: &File) -> Vec<Violation> {
    let CodeRule { rule, about, but, unit, breaks } = rule;
    if !about.iter().any(|module| file.is_of(module)) || file.is_of(but) {
        return Vec::new();
    }
    let source = file.source();
    let places: Vec<(usize, &str)> = match unit {
        Unit::Path => source.named.iter().map(|named| (named.line, named.path.as_str())).collect(),
        Unit::Line => source.code.lines().enumerate().map(|(index, line)| (index + 1, line.trim())).collect(),
    };
    places.iter().filter(|(_, code)| breaks(code)).map(|(line, code)| broken(rule, &file.path, *line, *code)).collect()
}

fn top_level(path: &str) -> Option<Violation> {
    let fits = TOP.split(' ').any(|known| known == path) || path.starts_with('.') || path.starts_with("LICENSE-");
    (!fits && !path.contains('/') && !path.ends_with(".md")).then(|| broken(TOP_LEVEL, path, 0, "is at the top level"))
}

fn shape(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    if file.path.ends_with("/mod.rs") {
        found.push(broken(NO_MOD_RS, &file.path, 0, "is named mod.rs"));
    }
    if file.path.ends_with("/Cargo.toml") && !file.text.contains("\n[lints]\nworkspace = true\n") {
        found.push(broken(LINTS, &file.path, 0, "does not inherit the lints"));
    }
    let is_marked = |line: &str| line.split(|c: char| !c.is_alphanumeric()).any(|word| MARKS.contains(&word));
    let marked = file.lines().filter(|(_, line)| is_marked(line));
    found.extend(marked.map(|(number, line)| broken(NOTHING_POSTPONED, &file.path, number, line.trim())));
    found
}

fn links(tree: &Tree, document: &File) -> Vec<Violation> {
    let links = Parser::new(&document.text).into_offset_iter().filter_map(|(event, range)| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some((dest_url, range.start)),
        _ => None,
    });
    let line = |at: usize| document.text.get(..=at).unwrap_or_default().lines().count();
    let astray = links.filter(|(link, _)| !leads(tree, &document.path, link));
    astray.map(|(link, at)| broken(LINKS, &document.path, line(at), format!("links to {link}"))).collect()
}

/// Whether a link leaves the tree, stays in its document, or names something of the tree. A link from the root is
/// broken: it would mean another root on every site that shows the document.
fn leads(tree: &Tree, document: &str, link: &str) -> bool {
    let target = link.split('#').next().unwrap_or_default();
    let path = join(folder_of(document), target);
    let is_elsewhere = link.contains("://") || link.starts_with("mailto:") || target.is_empty();
    is_elsewhere || !target.starts_with('/') && (path.is_empty() || tree.paths.contains(&path))
}

/// The rows of the table of faults whose tests are not in the tree.
fn faults(tree: &Tree, table: &File) -> Vec<Violation> {
    let is_row = |line: &str| line.starts_with('|') && !line.starts_with("|---") && !line.ends_with("| test |");
    let rows = table.lines().filter(|(_, line)| is_row(line));
    rows.filter_map(|(number, row)| Some(broken(FAULTS, FAULTS_TABLE, number, fault(tree, row)?))).collect()
}

fn fault(tree: &Tree, row: &str) -> Option<String> {
    let cell = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
    // ``[`function`](../path)``
    let link = |rest: &'_ str| {
        let (function, rest) = rest.split_once("`](../")?;
        Some((function.to_owned(), rest.split_once(')')?.0.to_owned()))
    };
    let named: Vec<(String, String)> = cell.split("[`").skip(1).filter_map(link).collect();
    if named.is_empty() {
        return Some("a row without a test".to_owned());
    }
    let is_missing =
        |(function, path): &&(String, String)| !tree.file(path).is_some_and(|file| has_test(file, function));
    named.iter().find(is_missing).map(|(function, path)| format!("{path} has no test {function}"))
}

/// Whether the line above the function is the attribute of a test.
fn has_test(file: &File, function: &str) -> bool {
    let lines = file.text.lines().map(str::trim);
    let is_it = |line: &str| {
        let name = line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
        name == Some(function)
    };
    lines.clone().zip(lines.skip(1)).any(|(above, line)| above.contains("test]") && is_it(line))
}
