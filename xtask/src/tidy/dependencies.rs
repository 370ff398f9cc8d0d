//! Every dependency has its reason in the table of CONTRIBUTING.md, and is used.

use super::tree::File;
use super::{Rule, Tree, Violation};

static REASONED: Rule = Rule {
    requirement: "the table of CONTRIBUTING.md has a row for each dependency of the workspace, and no other row",
    remedy: "give it a row `| crate | used for | why this one |`, or remove the row",
};
static INHERITED: Rule = Rule {
    requirement: "a member takes its dependencies from the workspace",
    remedy: "name it in [workspace.dependencies] and use it with `workspace = true`",
};

static USED: Rule = Rule {
    requirement: "a member's sources name each of its dependencies",
    remedy: "remove the dependency; if only its features are needed, write the reason as a comment in its line",
};

const TABLE: &str = "CONTRIBUTING.md";
const HEAD: &str = "| crate | used for | why this one |";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let (Some(manifest), Some(document)) = (tree.file("Cargo.toml"), tree.file(TABLE)) else {
        return vec![REASONED.broken(TABLE, 0, "is missing, or Cargo.toml is")];
    };
    let (used, rows) = (entries(manifest, &["workspace.dependencies"]), rows(document));
    let name = |line: &str| line.split(['=', '.', ' ']).next().unwrap_or_default().to_owned();
    let used: Vec<(usize, String)> =
        used.iter().filter(|(_, line)| !line.contains("path =")).map(|(number, line)| (*number, name(line))).collect();
    let without_row = used.iter().filter(|(_, name)| !rows.iter().any(|(_, row)| row == name));
    let unused = rows.iter().filter(|(_, row)| !used.iter().any(|(_, name)| name == row));
    let mut found: Vec<Violation> =
        without_row.map(|(line, name)| REASONED.broken("Cargo.toml", *line, format!("{name} has no row"))).collect();
    found.extend(unused.map(|(line, name)| REASONED.broken(TABLE, *line, format!("{name} is no dependency"))));
    for member in tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        for (number, line) in entries(member, &["dependencies", "dev-dependencies", "build-dependencies"]) {
            let inherited = line.replace(' ', "").contains("workspace=true") || line.contains("path =");
            found.extend((!inherited).then(|| INHERITED.broken(&member.path, number, line)));
            let used = line.contains("path =")
                || line.contains('#')
                || is_named(tree, &member.path, &name(line).replace('-', "_"));
            found.extend((!used).then(|| USED.broken(&member.path, number, line)));
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

/// The first cells of the table's rows.
fn rows(document: &File) -> Vec<(usize, String)> {
    let table = document.lines().skip_while(|(_, line)| line.trim() != HEAD).skip(2);
    let rows = table.take_while(|(_, line)| line.starts_with('|'));
    rows.filter_map(|(number, line)| Some((number, line.split('|').nth(1)?.trim().trim_matches('`').to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str =
        "[workspace.dependencies]\nanyhow = \"1\"\nours = { path = \"ours\" }\n[profile.release]\nlto = true\n";
    const DOCUMENT: &str =
        "# A\n| crate | used for | why this one |\n|---|---|---|\n| `anyhow` | errors | usual |\n\n| b | c |\n";

    fn found(manifest: &str, document: &str, member: &str) -> Vec<String> {
        let source = ("a/src/lib.rs", "use anyhow::Result;\nuse {a, b, libc};");
        let tree = Tree::of(&[("Cargo.toml", manifest), (TABLE, document), ("a/Cargo.toml", member), source]);
        check(&tree)
            .into_iter()
            .map(|violation| format!("{}:{} {}", violation.file, violation.line, violation.found))
            .collect()
    }

    #[test]
    fn each_has_its_row() {
        assert!(found(MANIFEST, DOCUMENT, "").is_empty());
        let more = MANIFEST.replace("ours =", "libc = \"1\"\nours =");
        assert_eq!(found(&more, DOCUMENT, ""), ["Cargo.toml:3 libc has no row"]);
        let fewer = MANIFEST.replace("anyhow", "# anyhow");
        assert_eq!(found(&fewer, DOCUMENT, ""), ["CONTRIBUTING.md:4 anyhow is no dependency"]);
        assert_eq!(check(&Tree::of(&[("Cargo.toml", MANIFEST)])).len(), 1);
    }

    #[test]
    fn members_inherit() {
        let good =
            "[dependencies]\nanyhow.workspace = true\na = { workspace = true, features = [] }\nb = { path = \"b\" }\n";
        assert!(found(MANIFEST, DOCUMENT, good).is_empty());
        assert_eq!(found(MANIFEST, DOCUMENT, "[dependencies]\nlibc = \"1\"\n"), ["a/Cargo.toml:2 libc = \"1\""]);
    }

    #[test]
    fn members_use_their_dependencies() {
        let unused = "[dev-dependencies]\nserde-json.workspace = true\n";
        assert_eq!(found(MANIFEST, DOCUMENT, unused), ["a/Cargo.toml:2 serde-json.workspace = true"]);
        assert!(found(MANIFEST, DOCUMENT, &unused.replace("true", "true # for a feature")).is_empty());
    }
}
