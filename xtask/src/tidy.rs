//! Checks over the source tree for what no compiler checks: the invariants of ARCHITECTURE.md, and the order of the house.

use anyhow::{Result, bail};
use std::fmt;

use crate::paths;

mod boundaries;
mod code;
mod dependencies;
mod documents;
mod faults;
mod links;
mod offsets;
mod shape;
mod tree;

pub(crate) use tree::Tree;

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

/// A rule as it is told to whoever broke it.
#[derive(Debug, PartialEq)]
pub(crate) struct Rule {
    /// What holds.
    says: &'static str,
    /// What to do about it.
    remedy: &'static str,
}

impl Rule {
    fn broken(&'static self, file: &str, line: usize, found: impl Into<String>) -> Violation {
        Violation { file: file.to_owned(), line, rule: self, found: found.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        write!(f, " {}\n    rule: {}\n    remedy: {}", self.found, self.rule.says, self.rule.remedy)
    }
}

/// Reads the tree and applies every rule to it.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read(&paths::root())?;
    let violations = violations(&tree);
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => Ok(()),
        1 => bail!("1 violation of the tree's rules"),
        many => bail!("{many} violations of the tree's rules"),
    }
}

fn violations(tree: &Tree) -> Vec<Violation> {
    let rules = [
        boundaries::check,
        offsets::check,
        shape::check,
        dependencies::check,
        documents::check,
        faults::check,
        links::check,
    ];
    rules.iter().flat_map(|check| check(tree)).collect()
}

/// Whether a path is this file or lies in the folder of the same name: `a/b.rs` and `a/b/c.rs` are both of `a/b`.
fn belongs(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}
