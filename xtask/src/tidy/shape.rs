//! The order of the house: sizes and names of files, the top level, what each member inherits, nothing put off.

use super::tree::File;
use super::{Rule, Tree, Violation};

static SHORT_FILES: Rule =
    Rule { says: "a Rust file has at most 300 lines", remedy: "split it by subject: foo.rs and foo/*.rs" };
static NO_MOD_RS: Rule = Rule { says: "a module is foo.rs + foo/, never mod.rs", remedy: "move foo/mod.rs to foo.rs" };
static LINTS: Rule = Rule {
    says: "every member inherits the workspace's lints",
    remedy: "add [lints] with `workspace = true` to its Cargo.toml",
};
static TOP_LEVEL: Rule = Rule {
    says: "the top level holds the five members, Cargo's files, documents, configuration of tools and dot files",
    remedy: "move it into the member that it belongs to",
};
static NOTHING_PUT_OFF: Rule = Rule {
    says: "nothing is put off in the source",
    remedy: "do it, or say in LIMITATIONS.md what is missing and why",
};

const MAX_LINES: usize = 300;
/// Put together so that this file does not break its own rule.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const TOP: [&str; 12] = [
    "Cargo.lock",
    "Cargo.toml",
    "clippy.toml",
    "deny.toml",
    "docs",
    "pfnwatch",
    "pfnwatch-common",
    "pfnwatch-ebpf",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "tests",
    "xtask",
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found: Vec<Violation> = tree.files.iter().flat_map(file).collect();
    found.extend(tree.paths.iter().filter(|path| !path.contains('/')).filter_map(|name| top_level(name)));
    found
}

fn file(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    let lines = file.lines().count();
    if file.path.ends_with(".rs") && lines > MAX_LINES {
        found.push(SHORT_FILES.broken(&file.path, MAX_LINES + 1, format!("has {lines} lines")));
    }
    if file.path.ends_with("/mod.rs") {
        found.push(NO_MOD_RS.broken(&file.path, 0, "is named mod.rs"));
    }
    if file.path.ends_with("/Cargo.toml") && !inherits_lints(&file.text) {
        found.push(LINTS.broken(&file.path, 0, "does not inherit the lints"));
    }
    found.extend(put_off(file));
    found
}

fn inherits_lints(manifest: &str) -> bool {
    let after = manifest.lines().skip_while(|line| line.trim() != "[lints]").skip(1);
    after.take_while(|line| !line.starts_with('[')).any(|line| line.replace(' ', "") == "workspace=true")
}

fn put_off(file: &File) -> Vec<Violation> {
    let words = |line: &str| line.split(|c: char| !c.is_alphanumeric()).any(|word| MARKS.contains(&word));
    let lines = file.lines().filter(|(_, line)| words(line));
    lines.map(|(number, line)| NOTHING_PUT_OFF.broken(&file.path, number, line.trim())).collect()
}

fn top_level(name: &str) -> Option<Violation> {
    let fits = TOP.contains(&name) || name.starts_with('.') || name.ends_with(".md") || name.starts_with("LICENSE-");
    (!fits).then(|| TOP_LEVEL.broken(name, 0, "stands at the top level"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<&'static Rule> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn long_files() {
        assert!(broken("xtask/src/a.rs", &"\n".repeat(300)).is_empty());
        assert_eq!(broken("xtask/src/a.rs", &"\n".repeat(301)), [&SHORT_FILES]);
        assert!(broken("docs/a.md", &"\n".repeat(301)).is_empty());
    }

    #[test]
    fn mod_rs() {
        assert_eq!(broken("xtask/src/a/mod.rs", ""), [&NO_MOD_RS]);
        assert!(broken("xtask/src/a/modern.rs", "").is_empty());
    }

    #[test]
    fn lints_of_members() {
        assert!(broken("xtask/Cargo.toml", "[package]\n[lints]\nworkspace = true\n").is_empty());
        assert_eq!(
            broken("xtask/Cargo.toml", "[package]\nworkspace = true\n[lints]\n[x]\nworkspace = true\n"),
            [&LINTS]
        );
    }

    #[test]
    fn top_level_is_fixed() {
        for name in ["README.md", "LICENSE-MIT", ".gitignore", "Cargo.lock", "xtask"] {
            assert!(broken(name, "").is_empty(), "{name}");
        }
        assert_eq!(broken("Makefile", ""), [&TOP_LEVEL]);
    }

    #[test]
    fn marks_of_what_was_put_off() {
        for mark in MARKS {
            assert_eq!(broken("xtask/src/a.rs", &format!("// {mark}: later")), [&NOTHING_PUT_OFF]);
        }
        assert!(broken("xtask/src/a.rs", "// AUTODOCUMENTED TODOS").is_empty());
    }
}
