//! Names of files, the top level, the lints of each member, nothing postponed.

use super::tree::File;
use super::{Rule, Tree, Violation};

static NO_MOD_RS: Rule =
    Rule { requirement: "a module is foo.rs + foo/, never mod.rs", remedy: "move foo/mod.rs to foo.rs" };
static LINTS: Rule = Rule {
    requirement: "every member inherits the workspace's lints",
    remedy: "add [lints] with `workspace = true` to its Cargo.toml",
};
static TOP_LEVEL: Rule = Rule {
    requirement: "the top level has the members, Cargo's files, documents, configuration of tools and dot files",
    remedy: "move it into the member that it belongs to",
};
static NOTHING_POSTPONED: Rule = Rule {
    requirement: "nothing is postponed in the source",
    remedy: "do it, or state in LIMITATIONS.md what is missing and why",
};

/// Put together so that this file does not break its own rule.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const TOP: &str = "Cargo.lock Cargo.toml clippy.toml deny.toml docs pfnwatch pfnwatch-common pfnwatch-ebpf \
    rust-toolchain.toml rustfmt.toml tests xtask";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let names = tree.paths.iter().filter(|path| !path.contains('/'));
    names.filter_map(|name| top_level(name)).chain(tree.files.iter().flat_map(file)).collect()
}

fn file(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    if file.path.ends_with("/mod.rs") {
        found.push(NO_MOD_RS.broken(&file.path, 0, "is named mod.rs"));
    }
    if file.path.ends_with("/Cargo.toml") && !file.text.contains("\n[lints]\nworkspace = true\n") {
        found.push(LINTS.broken(&file.path, 0, "does not inherit the lints"));
    }
    let marked = |line: &str| line.split(|c: char| !c.is_alphanumeric()).any(|word| MARKS.contains(&word));
    let lines = file.lines().filter(|(_, line)| marked(line));
    found.extend(lines.map(|(number, line)| NOTHING_POSTPONED.broken(&file.path, number, line.trim())));
    found
}

fn top_level(name: &str) -> Option<Violation> {
    let known = TOP.split(' ').any(|known| known == name);
    let fits = known || name.starts_with('.') || name.ends_with(".md") || name.starts_with("LICENSE-");
    (!fits).then(|| TOP_LEVEL.broken(name, 0, "is at the top level"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<&'static Rule> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn mod_rs() {
        assert_eq!(broken("xtask/src/a/mod.rs", ""), [&NO_MOD_RS]);
        assert!(broken("xtask/src/a/modern.rs", "").is_empty());
    }

    #[test]
    fn lints_of_members() {
        assert!(broken("xtask/Cargo.toml", "[package]\n[lints]\nworkspace = true\n").is_empty());
        assert_eq!(broken("xtask/Cargo.toml", "\nworkspace = true\n[lints]\n[x]\nworkspace = true\n"), [&LINTS]);
    }

    #[test]
    fn top_level_is_fixed() {
        for name in ["README.md", "LICENSE-MIT", ".gitignore", "Cargo.lock", "xtask"] {
            assert!(broken(name, "").is_empty(), "{name}");
        }
        assert_eq!(broken("Makefile", ""), [&TOP_LEVEL]);
    }

    #[test]
    fn marks_of_what_was_postponed() {
        for mark in MARKS {
            assert_eq!(broken("xtask/src/a.rs", &format!("// {mark}: later")), [&NOTHING_POSTPONED]);
        }
        assert!(broken("xtask/src/a.rs", "// AUTODOCUMENTED TODOS").is_empty());
    }
}
