//! Every dependency has its reason in the table of CONTRIBUTING.md, and is used.

use super::tree::File;
use super::{Rule, Tree, Violation, broken};

pub(super) const REASONED: Rule = "the table of CONTRIBUTING.md has a row for each dependency of the workspace, and no \
    other row: give it a row `| crate | used for | why this one |`, or remove the row";
pub(super) const INHERITED: Rule = "a member takes its dependencies from the workspace: name it in \
    [workspace.dependencies] and use it with `workspace = true`";
pub(super) const USED: Rule = "a member's sources name each of its dependencies: remove the dependency; if only its \
    features are needed, write the reason as a comment in its line";

pub(super) const TABLE: &str = "CONTRIBUTING.md";
const HEAD: &str = "| crate | used for | why this one |";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let (Some(manifest), Some(document)) = (tree.file("Cargo.toml"), tree.file(TABLE)) else {
        return vec![broken(REASONED, TABLE, 0, "is missing, or Cargo.toml is")];
    };
    let name = |line: &str| line.split(['=', '.', ' ']).next().unwrap_or_default().to_owned();
    let of_others =
        entries(manifest, &["workspace.dependencies"]).into_iter().filter(|(_, line)| !line.contains("path ="));
    let used: Vec<(usize, String)> = of_others.map(|(number, line)| (number, name(line))).collect();
    let first = |cells: Vec<&str>| cells.first().map(|cell| cell.trim_matches('`').to_owned()).unwrap_or_default();
    let rows: Vec<(usize, String)> = document.table(HEAD).map(|(number, cells)| (number, first(cells))).collect();
    let is_among = |list: &[(usize, String)], name: &str| list.iter().any(|(_, other)| other == name);
    let without_row = used.iter().filter(|(_, name)| !is_among(&rows, name));
    let unused = rows.iter().filter(|(_, name)| !is_among(&used, name));
    let mut found: Vec<Violation> =
        without_row.map(|(line, name)| broken(REASONED, "Cargo.toml", *line, format!("{name} has no row"))).collect();
    found.extend(unused.map(|(line, name)| broken(REASONED, TABLE, *line, format!("{name} is no dependency"))));
    for member in tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        for (number, line) in entries(member, &["dependencies", "dev-dependencies", "build-dependencies"]) {
            if line.contains("path =") {
                continue;
            }
            let is_inherited = line.replace(' ', "").contains("workspace=true");
            let is_used = line.contains('#') || is_named(tree, &member.path, &name(line).replace('-', "_"));
            let rules = [(INHERITED, is_inherited), (USED, is_used)];
            let unmet = rules.into_iter().filter(|(_, is_met)| !is_met);
            found.extend(unmet.map(|(rule, _)| broken(rule, &member.path, number, line)));
        }
    }
    found
}

/// Whether the code beside a manifest has this identifier.
fn is_named(tree: &Tree, manifest: &str, name: &str) -> bool {
    let folder = manifest.trim_end_matches("Cargo.toml");
    let mut sources = tree.rust().filter(|file| file.path.starts_with(folder));
    sources.any(|file| file.text.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == name))
}

/// The entries of these sections of a manifest, one a line, with their lines.
fn entries<'a>(manifest: &'a File, sections: &[&str]) -> Vec<(usize, &'a str)> {
    let mut section = "";
    let mut entries = Vec::new();
    for (number, line) in manifest.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end().trim_end_matches(']');
        } else if sections.contains(&section) && line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            entries.push((number, line));
        }
    }
    entries
}
