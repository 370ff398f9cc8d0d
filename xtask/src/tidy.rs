//! Checks over the source tree for what no compiler checks: the invariants of ARCHITECTURE.md, and the order of the house.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::paths;

mod code;
mod dependencies;
mod documents;
mod links;
mod rooms;
mod source;
#[cfg(test)]
mod tests;
mod tree;
mod words;

use tree::Tree;
pub(crate) use tree::{folder_of, join};

#[derive(Debug)]
struct Violation {
    /// The file, from the workspace's root.
    file: String,
    /// Its line, from 1; 0 if the file as a whole is meant.
    line: usize,
    rule: String,
    found: String,
}

fn broken(rule: &str, file: &str, line: usize, found: impl Into<String>) -> Violation {
    Violation { file: file.to_owned(), line, rule: rule.to_owned(), found: found.into() }
}

pub(crate) fn run() -> Result<()> {
    report(&violations(&Tree::read(&paths::root())?))
}

fn violations(tree: &Tree) -> Vec<Violation> {
    let rules = [rooms::check, code::check, links::check, dependencies::check, documents::check, words::check];
    rules.iter().flat_map(|check| check(tree)).collect()
}

/// Compares only the imports between rooms with their table.
pub(crate) fn imports() -> Result<()> {
    report(&rooms::check(&Tree::read(&paths::root())?))
}

/// Prints each broken rule once, below its violations.
fn report(violations: &[Violation]) -> Result<()> {
    let mut by_rule: BTreeMap<&str, Vec<&Violation>> = BTreeMap::new();
    for violation in violations {
        by_rule.entry(&violation.rule).or_default().push(violation);
    }
    for (rule, violations) in by_rule {
        for Violation { file, line, found, .. } in violations {
            println!("{file}:{line}: {found}");
        }
        println!("    rule: {rule}");
    }
    match violations.len() {
        0 => Ok(()),
        many => bail!("the rules of the tree are violated {many} times"),
    }
}
