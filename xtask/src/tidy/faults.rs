//! The tests that the table of faults names exist.

use super::tree::File;
use super::{Rule, Tree, Violation};

const TABLE: &str = "docs/faults.md";

static TESTS: Rule = Rule {
    requirement: "each row of docs/faults.md ends with a link or more, whose text is a test of the file that it leads to",
    remedy: "name the test that injects the fault, as [`function`](../path/of/its/file.rs); without one, write it",
};

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let Some(table) = tree.file(TABLE) else {
        return vec![TESTS.broken(TABLE, 0, "is not there")];
    };
    let rows = table.lines().filter(|(_, line)| is_row(line));
    rows.filter_map(|(number, row)| Some(TESTS.broken(TABLE, number, problem(tree, row)?))).collect()
}

/// A row below a table's head and its rule.
fn is_row(line: &str) -> bool {
    line.starts_with('|') && !line.starts_with("|---") && !line.ends_with("| test |")
}

fn problem(tree: &Tree, row: &str) -> Option<String> {
    let tests = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
    let named: Vec<(&str, &str)> = tests.split("[`").skip(1).filter_map(link).collect();
    if named.is_empty() {
        return Some("a row without a test".to_owned());
    }
    let missing = |(function, path): &&(&str, &str)| !tree.file(path).is_some_and(|file| has_test(file, function));
    named.iter().find(missing).map(|(function, path)| format!("{path} has no test {function}"))
}

/// ``function`](../path) …``
fn link(rest: &str) -> Option<(&str, &str)> {
    let (function, rest) = rest.split_once("`](../")?;
    Some((function, rest.split_once(')')?.0))
}

/// Whether the line above the function is the attribute of a test.
fn has_test(file: &File, function: &str) -> bool {
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    let is_it = |line: &&str| {
        let line = line.trim_start_matches("async ");
        line.strip_prefix("fn ").is_some_and(|rest| rest.split('(').next() == Some(function))
    };
    lines
        .iter()
        .position(is_it)
        .and_then(|at| lines.get(at.checked_sub(1)?))
        .is_some_and(|above| above.contains("test]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "#[test]\nfn there() {}\nfn helper() {}\n    #[tokio::test]\n    async fn waits() {}\n";

    fn broken(row: &str) -> Vec<String> {
        let text = format!("| what | does | test |\n|---|---|---|\n{row}\n");
        let tree = Tree::of(&[(TABLE, &text), ("tests/a.rs", CODE)]);
        check(&tree).into_iter().map(|violation| violation.found).collect()
    }

    #[test]
    fn rows_whose_tests_are_there() {
        assert!(broken("| a | b | [`there`](../tests/a.rs), [`waits`](../tests/a.rs) |").is_empty());
    }

    #[test]
    fn rows_whose_tests_are_gone() {
        assert_eq!(
            broken("| a | b | [`there`](../tests/a.rs), [`gone`](../tests/a.rs) |"),
            ["tests/a.rs has no test gone"]
        );
        assert_eq!(broken("| a | b | [`helper`](../tests/a.rs) |"), ["tests/a.rs has no test helper"]);
        assert_eq!(broken("| a | b | [`there`](../tests/b.rs) |"), ["tests/b.rs has no test there"]);
        assert_eq!(broken("| a | `there` | none |"), ["a row without a test"]);
        assert_eq!(check(&Tree::of(&[])).len(), 1);
    }
}
