//! Where the links of documents lead, and the tests that the table of faults names.

use pulldown_cmark::{Event, Parser, Tag};
use regex_lite::Regex;

use super::tree::{File, folder_of, join};
use super::{Tree, Violation, broken};

pub(super) const LINKS: &str = "a relative link of a document leads to a file of the tree: correct it, or add the file";
pub(super) const FAULTS: &str = "each row of docs/faults.md ends with a link or more, whose text is a test of the file \
    that it leads to: name the test that injects the fault, as [`function`](../path/of/its/file.rs); without one, write it";

pub(super) const FAULTS_TABLE: &str = "docs/faults.md";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let documents = tree.files.iter().filter(|file| file.path.ends_with(".md"));
    let mut found: Vec<Violation> = documents.flat_map(|document| astray(tree, document)).collect();
    match tree.file(FAULTS_TABLE) {
        Some(table) => found.extend(faults(tree, table)),
        None => found.push(broken(FAULTS, FAULTS_TABLE, 0, "is missing")),
    }
    found
}

fn astray(tree: &Tree, document: &File) -> Vec<Violation> {
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
    let Ok(link) = Regex::new(r"\[`(\w+)`\]\(\.\./([^)]+)\)") else { return Vec::new() };
    let mut found = Vec::new();
    for (number, row) in table.lines().filter(|(_, line)| is_row(line)) {
        let cell = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        let tests: Vec<_> = link.captures_iter(cell).map(|found| found.extract().1).collect();
        if tests.is_empty() {
            found.push(broken(FAULTS, FAULTS_TABLE, number, "a row without a test"));
        }
        let missing = tests.iter().filter(|[function, path]| !has_test(tree.file(path), function));
        let missing = missing.map(|[function, path]| format!("{path} has no test {function}"));
        found.extend(missing.map(|missing| broken(FAULTS, FAULTS_TABLE, number, missing)));
    }
    found
}

/// Whether the line above the function is the attribute of a test.
fn has_test(file: Option<&File>, function: &str) -> bool {
    let test = Regex::new(&format!(r"test\]\n\s*(async )?fn {function}\("));
    file.zip(test.ok()).is_some_and(|(file, test)| test.is_match(&file.text))
}
