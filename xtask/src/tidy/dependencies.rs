//! Every dependency has its reason in the table of CONTRIBUTING.md, and is used; every member has the workspace's lints.

use std::collections::BTreeSet;

use toml::Table;

use super::tree::File;
use super::{Tree, Violation, broken};

pub(super) const REASONED: &str = "the table of CONTRIBUTING.md has a row for each dependency of the workspace, and no \
    other row: give it a row `| crate | used for | why this one |`, or remove the row";
pub(super) const USED: &str = "a member's sources name each of its dependencies: remove the dependency; if only its \
    features are needed, write the reason as a comment in its line";
pub(super) const LINTS: &str = "every member inherits the workspace's lints: add [lints] with `workspace = true`";

const TABLE: &str = "CONTRIBUTING.md";
const HEAD: &str = "| crate | used for | why this one |";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let workspace = tree.file("Cargo.toml").and_then(|file| table(file)?.get("workspace")?.as_table().cloned());
    let used = workspace.map(|workspace| dependencies(&workspace, "dependencies")).unwrap_or_default();
    let rows = tree.file(TABLE).into_iter().flat_map(|file| file.table(HEAD));
    let rows: BTreeSet<String> = rows.filter_map(|(_, cells)| Some(cells.first()?.replace('`', ""))).collect();
    let without_row =
        used.difference(&rows).map(|name| broken(REASONED, "Cargo.toml", 0, format!("{name} has no row")));
    let unused = rows.difference(&used).map(|name| broken(REASONED, TABLE, 0, format!("{name} is no dependency")));
    let mut found: Vec<Violation> = without_row.chain(unused).collect();
    for member in tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        if !member.text.contains("\n[lints]\nworkspace = true\n") {
            found.push(broken(LINTS, &member.path, 0, "does not inherit the lints"));
        }
        let manifest = table(member).unwrap_or_default();
        let all =
            ["dependencies", "dev-dependencies", "build-dependencies"].map(|section| dependencies(&manifest, section));
        let is_reasoned = |name: &str| member.text.lines().any(|line| line.starts_with(name) && line.contains('#'));
        let unnamed = all.iter().flatten().filter(|name| !is_named(tree, &member.path, name) && !is_reasoned(name));
        found.extend(unnamed.map(|name| broken(USED, &member.path, 0, name)));
    }
    found
}

fn table(manifest: &File) -> Option<Table> {
    toml::from_str(&manifest.text).ok()
}

/// The dependencies of a section that are not members of the workspace.
fn dependencies(manifest: &Table, section: &str) -> BTreeSet<String> {
    let all = manifest.get(section).and_then(|section| section.as_table()).into_iter().flatten();
    all.filter(|(_, value)| value.get("path").is_none()).map(|(name, _)| name.clone()).collect()
}

/// Whether the code beside a manifest has this identifier.
fn is_named(tree: &Tree, manifest: &str, name: &str) -> bool {
    let (folder, name) = (manifest.trim_end_matches("Cargo.toml"), name.replace('-', "_"));
    let mut sources = tree.rust().filter(|file| file.path.starts_with(folder));
    sources.any(|file| file.text.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == name))
}
