//! Checks over the source tree for what no compiler checks: the invariants of ARCHITECTURE.md, and the order of the house.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::paths;

mod dependencies;
mod documents;
mod files;
mod published;
mod rooms;
mod source;
#[cfg(test)]
mod tests;
mod tree;
mod words;

use tree::Tree;
pub(crate) use tree::{folder_of, join};
pub(crate) use words::shrink as shrink_words;

/// What every file has to fulfil, and how to correct a violation.
type Rule = &'static str;

/// Something that a rule does not allow.
#[derive(Debug)]
struct Violation {
    /// The file, from the workspace's root.
    file: String,
    /// Its line, from 1; 0 if the file as a whole is meant.
    line: usize,
    rule: Rule,
    found: String,
}

fn broken(rule: Rule, file: &str, line: usize, found: impl Into<String>) -> Violation {
    Violation { file: file.to_owned(), line, rule, found: found.into() }
}

/// Reads the tree and applies every rule to it.
pub(crate) fn run() -> Result<()> {
    report(&violations(&Tree::read(&paths::root())?))
}

fn violations(tree: &Tree) -> Vec<Violation> {
    let rules = [rooms::check, files::check, dependencies::check, documents::check, published::check, words::check];
    rules.iter().flat_map(|check| check(tree)).collect()
}

/// Compares the imports between rooms with their table, and sums up the edges that it does not allow.
pub(crate) fn imports() -> Result<()> {
    let violations = rooms::check(&Tree::read(&paths::root())?);
    let outcome = report(&violations);
    let edges = rooms::summary(&violations);
    println!("{} edges between rooms that the table does not allow", edges.len());
    edges.iter().for_each(|edge| println!("{edge}"));
    outcome
}

/// Prints each broken rule once, below its violations.
fn report(violations: &[Violation]) -> Result<()> {
    let mut by_rule: BTreeMap<Rule, Vec<&Violation>> = BTreeMap::new();
    for violation in violations {
        by_rule.entry(violation.rule).or_default().push(violation);
    }
    for (rule, violations) in by_rule {
        for Violation { file, line, found, .. } in violations {
            let line = if *line > 0 { format!("{line}:") } else { String::new() };
            println!("{file}:{line} {found}");
        }
        println!("    rule: {rule}");
    }
    match violations.len() {
        0 => Ok(()),
        1 => bail!("1 violation of the tree's rules"),
        many => bail!("{many} violations of the tree's rules"),
    }
}
