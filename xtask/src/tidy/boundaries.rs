//! The invariants of the architecture that are about what a module may name. The lists are in `xtask/rooms.toml`.

use std::collections::BTreeSet;

use super::modules::{self, Module, resolve};
use super::rooms::{self, CRATE, LIB, TABLE, Table};
use super::source::Named;
use super::tree::File;
use super::{Rule, Tree, Violation, belongs};

static ONE_TRANSLATOR: Rule = Rule {
    requirement: "a wire record is not a domain event: only bpf/ knows records, only bpf/decode knows both",
    remedy: "take an event of model/ here, and translate in pfnwatch/src/bpf/decode",
};
static PURE: Rule = Rule {
    requirement: "the modules listed as pure in xtask/rooms.toml do no input or output and read no clock",
    remedy: "do it in the caller, and pass the value",
};
static ONLY: Rule = Rule {
    requirement: "a crate listed under [only] in xtask/rooms.toml is used by those modules alone",
    remedy: "give that module a function for what is needed here",
};
static LISTED: Rule = Rule {
    requirement: "a module that xtask/rooms.toml names is in the tree",
    remedy: "write there the module's new name",
};
static ONE_READER: Rule = Rule {
    requirement: "in pfnwatch-ebpf only src/kernel reads kernel memory",
    remedy: "add a typed accessor to src/kernel and call it",
};
static NO_VERSIONS: Rule = Rule {
    requirement: "kernel versions are compared in pfnwatch/src/kernel alone",
    remedy: "ask BTF or a symbol for the feature, or add the question to pfnwatch/src/kernel",
};
static ONE_BTF_PARSER: Rule = Rule {
    requirement: "only pfnwatch/src/kernel/btf parses BTF",
    remedy: "call kernel::btf; add there what it lacks",
};
static NO_DEFAULTS: Rule = Rule {
    requirement: "there are no default offsets: a missing one disables a program with a reason that the user sees",
    remedy: "leave the offset unknown, with its reason",
};

const AGENT: &str = "pfnwatch/src/";
/// Errors and addresses are values like others.
const IMPURE: &str = "std::fs std::net::TcpListener std::net::TcpStream std::net::ToSocketAddrs std::net::UdpSocket \
    std::os std::process std::env std::thread tokio nix";
const VALUES: &str = "nix::errno";
const DECODE: &str = "bpf::decode";
/// Calls that make an offset or replace a missing one: a number or an offset behind them was written by hand.
const OFFSET_MAKERS: [&str; 10] = [
    "FieldOffset::new(",
    "FieldOffset(",
    "Self::new(",
    "Self(",
    "offset: ",
    "offset = ",
    "unwrap_or(",
    "unwrap_or_else(|| ",
    "map_or(",
    ".or(",
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let checks = [one_loader, one_reader, no_versions, one_btf_parser, no_defaults];
    let files = tree.rust().filter(|file| !file.is_test());
    let mut found: Vec<Violation> = files.flat_map(|file| checks.iter().flat_map(|check| check(file))).collect();
    let Ok(table) = rooms::read(tree) else { return found };
    let modules = modules::of_crate(tree, LIB).0;
    let known: BTreeSet<Vec<String>> = modules.iter().map(|module| module.path.clone()).collect();
    found.extend(unknown(&table, &known));
    for module in &modules {
        found.extend(only(&table, module));
        if let Some(file) = tree.file(&module.file).filter(|file| !file.is_test()) {
            found.extend(pure(&table, module, file));
            found.extend(one_translator(module, &known));
        }
    }
    found
}

/// Names of modules in the table that the tree does not have: a rule would no longer apply.
fn unknown(table: &Table, known: &BTreeSet<Vec<String>>) -> Vec<Violation> {
    let listed = table.pure.iter().chain(table.only.values().flatten()).map(String::as_str).chain([DECODE]);
    let is_there = |name: &str| name == "main" || known.iter().any(|module| module.join("::") == name);
    listed
        .filter(|name| !is_there(name))
        .map(|name| LISTED.broken(TABLE, 0, format!("{name} is not in the tree")))
        .collect()
}

fn only(table: &Table, module: &Module) -> Vec<Violation> {
    let strange = |named: &&Named| {
        let around = module.around(named);
        let mut rules = table.only.iter().filter(|(item, _)| named.reaches(item));
        rules.any(|(_, allowed)| !allowed.iter().any(|allowed| within(&around, allowed)))
    };
    module.named.iter().filter(strange).map(|named| broken(&ONLY, module, named)).collect()
}

fn pure(table: &Table, module: &Module, file: &File) -> Vec<Violation> {
    if !table.pure.iter().any(|pure| within(&module.path, pure)) {
        return Vec::new();
    }
    // A point in time is a value, too; what matters is who reads the clock.
    let impure = |named: &&Named| {
        named.path.last().is_some_and(|last| last == "now")
            || IMPURE.split_whitespace().any(|item| named.reaches(item)) && !named.text().starts_with(VALUES)
    };
    let named = module.named.iter().filter(|named| !in_tests(named)).filter(impure);
    let mut found: Vec<Violation> = named.map(|named| broken(&PURE, module, named)).collect();
    found.extend(lines(&PURE, file, |line| line.contains(".elapsed(")));
    found
}

fn one_translator(module: &Module, known: &BTreeSet<Vec<String>>) -> Option<Violation> {
    let mut named = module.named.iter().filter(|named| !in_tests(named));
    let record = named.clone().find(|named| named.reaches("pfnwatch_common::record"))?;
    let is_event = |named: &Named| {
        let target = resolve(&named.path, &module.around(named), CRATE, known);
        target.is_some_and(|target| within(&target, "model::event"))
    };
    let allowed = within(&module.path, DECODE)
        || within(&module.path, "testing")
        || within(&module.path, "bpf") && !named.any(is_event);
    (!allowed).then(|| broken(&ONE_TRANSLATOR, module, record))
}

fn in_tests(named: &Named) -> bool {
    named.inline.iter().any(|module| module == "tests")
}

fn broken(rule: &'static Rule, module: &Module, named: &Named) -> Violation {
    rule.broken(&module.file, named.line, format!("names {}", named.text()))
}

/// Whether a module is this one or below it.
fn within(module: &[String], name: &str) -> bool {
    let mut module = module.iter();
    name.split("::").all(|segment| module.next().is_some_and(|own| own == segment))
}

/// The same of the tests in guests and of xtask, which have no rooms. (pfnwatch-common implements a trait of aya's.)
fn one_loader(file: &File) -> Vec<Violation> {
    if !["tests/", "xtask/"].iter().any(|member| file.path.starts_with(member)) || belongs(&file.path, "tests/src/bpf")
    {
        return Vec::new();
    }
    paths(&ONLY, file, |named| {
        named.path.len() > 1 && matches!(named.path.first().map(String::as_str), Some("aya" | "aya_log" | "aya_obj"))
    })
}

fn one_reader(file: &File) -> Vec<Violation> {
    if !file.path.starts_with("pfnwatch-ebpf/") || belongs(&file.path, "pfnwatch-ebpf/src/kernel") {
        return Vec::new();
    }
    paths(&ONE_READER, file, |named| named.path.iter().any(|segment| segment.starts_with("bpf_probe_read")))
}

/// Catches an order (`<`, `>=`, `cmp`, …) or a prefix asked of a word that means a kernel's version, and such a word
/// compared with a string literal. Whether two boots had the same release may be asked anywhere.
fn no_versions(file: &File) -> Vec<Violation> {
    let ours = [AGENT, "pfnwatch-ebpf/src/", "pfnwatch-common/src/"].iter().any(|dir| file.path.starts_with(dir));
    if !ours || belongs(&file.path, "pfnwatch/src/kernel") {
        return Vec::new();
    }
    let words = ["release", "kernel_version", "KernelVersion", "LINUX_VERSION_CODE"];
    // rustfmt puts a space on both sides of an operator: generics have none.
    let asked = [" < ", " <= ", " > ", " >= ", ".cmp(", ".partial_cmp(", ".starts_with(", " == \"", " != \""];
    lines(&NO_VERSIONS, file, |line| {
        line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| words.contains(&word))
            && asked.iter().any(|operator| line.contains(operator))
    })
}

/// Whoever parses BTF looks for its magic number.
fn one_btf_parser(file: &File) -> Vec<Violation> {
    if !file.path.starts_with(AGENT) || belongs(&file.path, "pfnwatch/src/kernel/btf") {
        return Vec::new();
    }
    lines(&ONE_BTF_PARSER, file, |line| line.to_lowercase().contains("0xeb9f"))
}

/// Defaults of the two tables of offsets, by name and as numbers in the source.
fn no_defaults(file: &File) -> Vec<Violation> {
    let layouts = ["pfnwatch-common/src/layout", "pfnwatch/src/kernel/layout"];
    if !layouts.iter().any(|module| belongs(&file.path, module)) {
        return Vec::new();
    }
    let offset = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit()) || rest.starts_with("FieldOffset::new(");
    let written_down = |line: &str, maker: &str| {
        line.match_indices(maker).filter_map(|(at, _)| line.get(at + maker.len()..)).any(offset)
    };
    lines(&NO_DEFAULTS, file, |line| {
        ["unwrap_or_default(", "Default", "default("].iter().any(|default| line.contains(default))
            || OFFSET_MAKERS.iter().any(|maker| written_down(line, maker))
    })
}

fn paths(rule: &'static Rule, file: &File, breaks: impl Fn(&Named) -> bool) -> Vec<Violation> {
    let named = file.source().named.iter().filter(|named| breaks(named));
    named.map(|named| rule.broken(&file.path, named.line, format!("names {}", named.text()))).collect()
}

/// The lines of a file's code that break a rule.
fn lines(rule: &'static Rule, file: &File, breaks: impl Fn(&str) -> bool) -> Vec<Violation> {
    let lines = file.source().code.lines().enumerate().filter(|(_, line)| breaks(line));
    lines.map(|(index, line)| rule.broken(&file.path, index + 1, line.trim())).collect()
}

#[cfg(test)]
mod tests;
