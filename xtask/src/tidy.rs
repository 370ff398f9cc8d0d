//! Checks over the source tree for what no compiler checks: the invariants of ARCHITECTURE.md, and the order of the house.

use anyhow::{Result, bail};

use crate::paths;

mod boundaries;
mod dependencies;
mod documents;
mod faults;
mod links;
mod modules;
mod published;
mod rooms;
mod shape;
mod source;
mod tree;
mod words;

pub(crate) use tree::Tree;
pub(crate) use words::shrink as shrink_words;

/// Something that a rule does not allow.
#[derive(Debug, PartialEq)]
pub(crate) struct Violation {
    /// The file, from the workspace's root.
    file: String,
    /// Its line, from 1; 0 where the file as a whole is meant.
    line: usize,
    /// The rule, and what to do.
    rule: &'static Rule,
    /// What was found.
    found: String,
}

/// A rule, as it is printed for whoever broke it.
#[derive(Debug, PartialEq)]
pub(crate) struct Rule {
    /// What every file has to fulfil.
    requirement: &'static str,
    /// How to correct a violation.
    remedy: &'static str,
}

impl Rule {
    fn broken(&'static self, file: &str, line: usize, found: impl Into<String>) -> Violation {
        Violation { file: file.to_owned(), line, rule: self, found: found.into() }
    }
}

/// Reads the tree and applies every rule to it.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read(&paths::root())?;
    report(&violations(&tree))
}

/// Compares the imports between rooms with their table, and sums up the edges that it does not allow.
pub(crate) fn imports() -> Result<()> {
    let tree = Tree::read(&paths::root())?;
    let outcome = report(&rooms::check(&tree));
    let edges = rooms::summary(&tree);
    println!("{} edges between rooms that the table does not allow", edges.len());
    for edge in edges {
        println!("{edge}");
    }
    outcome
}

/// Prints each broken rule once, below its violations.
fn report(violations: &[Violation]) -> Result<()> {
    let mut rules: Vec<&Rule> = Vec::new();
    for violation in violations {
        if !rules.contains(&violation.rule) {
            rules.push(violation.rule);
        }
    }
    for rule in rules {
        for Violation { file, line, found, .. } in violations.iter().filter(|violation| violation.rule == rule) {
            let line = if *line > 0 { format!("{line}:") } else { String::new() };
            println!("{file}:{line} {found}");
        }
        println!("    rule: {}\n    remedy: {}", rule.requirement, rule.remedy);
    }
    match violations.len() {
        0 => Ok(()),
        1 => bail!("1 violation of the tree's rules"),
        many => bail!("{many} violations of the tree's rules"),
    }
}

fn violations(tree: &Tree) -> Vec<Violation> {
    let rules = [
        rooms::check,
        boundaries::check,
        shape::check,
        dependencies::check,
        documents::check,
        faults::check,
        published::check,
        links::check,
        words::check,
    ];
    rules.iter().flat_map(|check| check(tree)).collect()
}

/// Whether a path is this file or lies in the folder of the same name: `a/b.rs` and `a/b/c.rs` are both of `a/b`.
fn belongs(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}
