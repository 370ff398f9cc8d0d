//! Invariants 1 to 5: which module may name what.

use super::code::{Named, code, paths};
use super::tree::File;
use super::{Rule, Tree, Violation, belongs};

static ONE_TRANSLATOR: Rule = Rule {
    requirement: "invariant 1: a wire record is not a domain event; only decode knows both",
    remedy: "take a crate::event type here, and translate in pfnwatch/src/decode",
};
static PURE: Rule = Rule {
    requirement: "invariant 2: decode, assess, policy compilation, attach planning and layout resolution do no I/O and read no clock",
    remedy: "do it in the caller, and hand the value in",
};
static ONE_LOADER: Rule = Rule {
    requirement: "invariant 3: only pfnwatch/src/bpf (and tests/src/bpf in guests) uses aya",
    remedy: "give that module a function for what is needed here",
};
static ONE_READER: Rule = Rule {
    requirement: "invariant 4: in pfnwatch-ebpf only src/kernel reads kernel memory",
    remedy: "add a typed accessor to src/kernel and call it",
};
static NO_VERSIONS: Rule = Rule {
    requirement: "invariant 5: kernel versions are compared in pfnwatch/src/kernel and pfnwatch/src/bpf/plan.rs alone",
    remedy: "ask BTF or a symbol for the feature, or add the question to pfnwatch/src/kernel",
};

const AGENT: &str = "pfnwatch/src/";
const PURE_MODULES: [&str; 5] = ["decode", "assess", "policy", "bpf/plan", "kernel/layout"];
const IMPURE: [&str; 7] = ["std::fs", "std::net", "std::process", "std::env", "std::os", "tokio", "nix"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let checks = [one_translator, pure, one_loader, one_reader, no_versions];
    tree.rust()
        .filter(|file| !file.is_test())
        .flat_map(|file| {
            let code = code(&file.text);
            let named = paths(&code);
            checks.into_iter().flat_map(|check| check(file, &code, &named)).collect::<Vec<_>>()
        })
        .collect()
}

fn one_translator(file: &File, _: &str, named: &[Named]) -> Vec<Violation> {
    if !file.path.starts_with(AGENT) || of_agent(file, "decode") {
        return Vec::new();
    }
    let first = |modules: &[&str]| {
        named.iter().find(|named| modules.iter().any(|module| within(&absolute(&named.path, &file.path), module)))
    };
    match (first(&["pfnwatch_common::record"]), first(&["crate::event", "pfnwatch::event"])) {
        (Some(record), Some(event)) => {
            vec![ONE_TRANSLATOR.broken(&file.path, record.line, format!("names {} and {}", record.path, event.path))]
        }
        _ => Vec::new(),
    }
}

fn pure(file: &File, code: &str, named: &[Named]) -> Vec<Violation> {
    if !PURE_MODULES.iter().any(|module| of_agent(file, module)) {
        return Vec::new();
    }
    // A point in time that is handed in is a value like any other: it is asking for it that makes a difference.
    let forbidden =
        |named: &&Named| named.path.ends_with("::now") || IMPURE.iter().any(|module| reaches(named, module));
    let named = named.iter().filter(forbidden).map(|named| (named.line, named.path.as_str()));
    let elapsed = code.lines().enumerate().filter(|(_, line)| line.contains(".elapsed("));
    let found = named.chain(elapsed.map(|(index, _)| (index + 1, "elapsed()")));
    found.map(|(line, name)| PURE.broken(&file.path, line, format!("names {name}"))).collect()
}

fn one_loader(file: &File, _: &str, named: &[Named]) -> Vec<Violation> {
    let strange = |named: &&Named| match named.path.split("::").next() {
        Some("aya" | "aya_log" | "aya_obj") => !of_agent(file, "bpf") && !belongs(&file.path, "tests/src/bpf"),
        _ => false,
    };
    // pfnwatch-common says for the agent which of its types are plain old data: that is a trait of aya's.
    let looked_at = ["pfnwatch/", "tests/", "xtask/"].iter().any(|member| file.path.starts_with(member));
    let found = named.iter().filter(|named| looked_at && named.path.contains("::")).filter(strange);
    found.map(|named| ONE_LOADER.broken(&file.path, named.line, format!("names {}", named.path))).collect()
}

fn one_reader(file: &File, _: &str, named: &[Named]) -> Vec<Violation> {
    if !file.path.starts_with("pfnwatch-ebpf/") || belongs(&file.path, "pfnwatch-ebpf/src/kernel") {
        return Vec::new();
    }
    let reads = named.iter().filter(|named| named.path.split("::").any(|word| word.starts_with("bpf_probe_read")));
    reads.map(|named| ONE_READER.broken(&file.path, named.line, format!("names {}", named.path))).collect()
}

/// Catches an order (`<`, `>=`, `cmp`, …) or a prefix asked of a word that means a kernel's version, and such a word
/// set equal to a text of the source. That two boots had the same release may be asked anywhere.
fn no_versions(file: &File, code: &str, _: &[Named]) -> Vec<Violation> {
    let ours =
        ["pfnwatch/src/", "pfnwatch-ebpf/src/", "pfnwatch-common/src/"].iter().any(|dir| file.path.starts_with(dir));
    if !ours || ["kernel", "bpf/plan"].iter().any(|module| of_agent(file, module)) {
        return Vec::new();
    }
    let words = ["release", "kernel_version", "KernelVersion", "LINUX_VERSION_CODE"];
    // rustfmt puts a space on both sides of an operator: generics have none.
    let asked = [" < ", " <= ", " > ", " >= ", ".cmp(", ".partial_cmp(", ".starts_with(", " == \"", " != \""];
    let compares = |line: &str| {
        line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| words.contains(&word))
            && asked.iter().any(|operator| line.contains(operator))
    };
    let lines = code.lines().enumerate().filter(|(_, line)| compares(line));
    lines.map(|(index, line)| NO_VERSIONS.broken(&file.path, index + 1, line.trim())).collect()
}

/// Whether a file is that module of the agent or below it.
fn of_agent(file: &File, module: &str) -> bool {
    belongs(&file.path, &format!("{AGENT}{module}"))
}

/// Whether a path is a module or something in it.
fn within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether a path leads to something forbidden, also by importing a module that has it.
fn reaches(named: &Named, forbidden: &str) -> bool {
    let opened = named.path.trim_end_matches("::*");
    within(&named.path, forbidden) || named.imported && within(forbidden, opened)
}

/// A path that starts with `self` or `super` as one from `crate`.
fn absolute(path: &str, file: &str) -> String {
    let module = file.strip_prefix(AGENT).unwrap_or(file).trim_end_matches(".rs");
    let mut here: Vec<&str> = std::iter::once("crate").chain(module.split('/').filter(|part| *part != "lib")).collect();
    let mut rest = path;
    if let Some(after) = rest.strip_prefix("self::") {
        rest = after;
    } else if !rest.starts_with("super::") {
        return path.to_owned();
    }
    while let Some(after) = rest.strip_prefix("super::") {
        here.pop();
        rest = after;
    }
    format!("{}::{rest}", here.join("::"))
}

#[cfg(test)]
mod tests;
