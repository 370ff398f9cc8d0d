//! Every dependency has its reason, in the table of CONTRIBUTING.md.

use super::tree::File;
use super::{Rule, Tree, Violation};

static REASONED: Rule = Rule {
    requirement: "every dependency of the workspace stands in the table of CONTRIBUTING.md, and nothing else does",
    remedy: "give it a row `| crate | used for | why this one |`, or take the row away",
};
static INHERITED: Rule = Rule {
    requirement: "a member takes its dependencies from the workspace",
    remedy: "name it in [workspace.dependencies] and use it with `workspace = true`",
};

const TABLE: &str = "CONTRIBUTING.md";
const HEAD: &str = "| crate | used for | why this one |";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let (Some(manifest), Some(document)) = (tree.file("Cargo.toml"), tree.file(TABLE)) else {
        return vec![REASONED.broken(TABLE, 0, "is missing, or Cargo.toml is")];
    };
    let (used, told) = (entries(manifest, &["workspace.dependencies"]), rows(document));
    let name = |line: &str| line.split(['=', '.', ' ']).next().unwrap_or_default().to_owned();
    let used: Vec<(usize, String)> =
        used.iter().filter(|(_, line)| !line.contains("path =")).map(|(number, line)| (*number, name(line))).collect();
    let untold = used.iter().filter(|(_, name)| !told.iter().any(|(_, row)| row == name));
    let unused = told.iter().filter(|(_, row)| !used.iter().any(|(_, name)| name == row));
    let mut found: Vec<Violation> =
        untold.map(|(line, name)| REASONED.broken("Cargo.toml", *line, format!("{name} has no row"))).collect();
    found.extend(unused.map(|(line, name)| REASONED.broken(TABLE, *line, format!("{name} is no dependency"))));
    found.extend(tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")).flat_map(not_inherited));
    found
}

fn not_inherited(member: &File) -> Vec<Violation> {
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let own = entries(member, &sections).into_iter().filter(|(_, line)| {
        let line = line.replace(' ', "");
        !(line.contains("workspace=true") || line.contains("path="))
    });
    own.map(|(number, line)| INHERITED.broken(&member.path, number, line)).collect()
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
        let tree = Tree::of(&[("Cargo.toml", manifest), ("CONTRIBUTING.md", document), ("a/Cargo.toml", member)]);
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
}
