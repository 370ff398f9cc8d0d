//! The commands that documents for users show are run by a test in a guest (`guest::documents`), or are listed here.

use guest::documents::block::{self, Block};

use super::tree::File;
use super::{Rule, Tree, Violation};

static LANGUAGE: Rule = Rule {
    requirement: "a block of a document for users has a language: console, toml, sh, or one of data",
    remedy: "write the language behind the fence; commands with their output are `console`",
};
static PROMPT: Rule = Rule {
    requirement: "a command is shown in a `console` block, which begins with it, and is run by a test",
    remedy: "make it a `console` block (`# ` is root's prompt, `$ ` that of others), and run `cargo xtask docs --update`",
};
static NOT_RUN: Rule = Rule {
    requirement: "a command of an `sh` block, which no test runs, is listed with the reason",
    remedy: "make it a `console` block, or add it to UNRUN in xtask/src/tidy/documents.rs",
};
static LEFT_OVER: Rule = Rule {
    requirement: "a document shows each command that is listed as not run by a test",
    remedy: "remove it from UNRUN in xtask/src/tidy/documents.rs",
};
static NO_TEST: Rule = Rule {
    requirement: "a test runs the commands of each document for users, for each kind of kernel",
    remedy: "add the page to tests/e2e/documents.rs, with `true` for blocks of a regressed kernel",
};

const FLEET: &str = "docs/fleet.md";
const TESTS: &str = "tests/e2e/documents.rs";
/// The function there that runs a page.
const RUNS_PAGE: &str = "run";
const LANGUAGES: [&str; 7] = ["console", "toml", "sh", "json", "yaml", "promql", "ini"];

const ITSELF: &str = "the project's own command: a stage of the test run, or the run itself";
const INSTALLED: &str = "tests/e2e/debian installs, reloads and asks the package under systemd";
const NO_PROMETHEUS: &str = "pfnwatch/tests/fleet.rs asks a real Prometheus, on another port";

/// Commands that cannot be run in a bare guest, by their beginning, with the reason or the test that replaces it.
const UNRUN: &[(&str, &str)] = &[
    ("cargo xtask ", ITSELF),
    ("sudo apt install ./target/dist/pfnwatch_*.deb", INSTALLED),
    ("systemctl status pfnwatch", INSTALLED),
    ("sudo target/release/pfnwatch ", "docs/first-run.md runs them by the name that they have once installed"),
    ("sudo install -m 644 new.toml ", INSTALLED),
    ("sudo systemctl reload pfnwatch", INSTALLED),
    ("journalctl --unit pfnwatch PFNWATCH_EVENT=", "tests/e2e/debian asks journald for the fields of an event"),
    ("pfnwatch run --log stdout --format json", "what every agent of tests/e2e is started with"),
    ("pfnwatch fleet --prometheus ", NO_PROMETHEUS),
    ("pfnwatch fleet readiness --prometheus ", NO_PROMETHEUS),
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let pages = || tree.files.iter().filter(|file| is_for_users(&file.path));
    let mut found: Vec<Violation> = pages().flat_map(page).collect();
    let tests = tree.file(TESTS).map_or("", |file| file.text.as_str());
    found.extend(pages().flat_map(|page| untested(page, tests)));
    if tree.paths.iter().any(|path| path == "docs") {
        let blocks = pages().flat_map(|file| block::blocks(&file.text));
        let shown: Vec<String> = blocks.flat_map(|block| block.body).collect();
        let unused = UNRUN.iter().filter(|(begin, _)| !shown.iter().any(|line| line.starts_with(begin)));
        found.extend(unused.map(|(begin, _)| LEFT_OVER.broken("xtask/src/tidy/documents.rs", 0, *begin)));
    }
    found
}

fn is_for_users(path: &str) -> bool {
    path.ends_with(".md") && (path == "README.md" || path.starts_with("docs/"))
}

fn page(file: &File) -> Vec<Violation> {
    block::blocks(&file.text).iter().flat_map(|block| broken(file, block)).collect()
}

/// The kinds of kernel for which a page has commands that no test runs.
fn untested(file: &File, tests: &str) -> Vec<Violation> {
    let blocks = block::blocks(&file.text);
    let tested = |regressed: bool| tests.contains(&format!("{RUNS_PAGE}(\"{}\", {regressed})", file.path));
    let shown = |regressed| blocks.iter().any(|block| block.language == "console" && block.is_for(regressed));
    let untested = [false, true].into_iter().filter(|regressed| shown(*regressed) && !tested(*regressed));
    untested
        .map(|regressed| NO_TEST.broken(&file.path, 0, format!("no test runs it; regressed: {regressed}")))
        .collect()
}

fn broken(file: &File, block: &Block) -> Vec<Violation> {
    let at = |index: usize| block.line + index + 1;
    let lines = || block.body.iter().enumerate();
    match block.language.as_str() {
        // One test runs those of one page.
        "console" if block.is_of_a_fleet() && file.path != FLEET => {
            vec![NO_TEST.broken(&file.path, block.line, "a fleet's block outside of its page")]
        }
        "console" if block.begins_with_a_command() => Vec::new(),
        "console" => vec![PROMPT.broken(&file.path, block.line, "a block that begins with no command")],
        "sh" => {
            let listed = |line: &str| UNRUN.iter().any(|(begin, _)| line.starts_with(begin));
            let unknown = lines().filter(|(_, line)| !line.trim().is_empty() && !listed(line));
            unknown.map(|(index, line)| NOT_RUN.broken(&file.path, at(index), line)).collect()
        }
        language if LANGUAGES.contains(&language) => {
            let commands = lines().filter(|(_, line)| line.starts_with("$ "));
            commands.map(|(index, line)| PROMPT.broken(&file.path, at(index), line)).collect()
        }
        other => vec![LANGUAGE.broken(&file.path, block.line, format!("a block of {other:?}"))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<&'static str> {
        let tests = format!("{RUNS_PAGE}(\"docs/a.md\", false)");
        let tree = Tree::of(&[("docs/a.md", text), (TESTS, &tests)]);
        check(&tree)
            .into_iter()
            .map(|violation| violation.rule.requirement)
            .filter(|says| *says != LEFT_OVER.requirement)
            .collect()
    }

    #[test]
    fn what_is_run_or_listed_is_in_order() {
        assert!(rules("```console\n# pfnwatch scan\nsaid\n```\n```sh\ncargo xtask demo  # shows it\n```\n").is_empty());
    }

    #[test]
    fn what_no_test_runs_is_found() {
        assert_eq!(rules("```sh\npfnwatch scan\n```\n"), [NOT_RUN.requirement]);
        assert_eq!(rules("```json\n$ pfnwatch scan\n{}\n```\n"), [PROMPT.requirement]);
        assert_eq!(rules("```console\npfnwatch scan\n```\n"), [PROMPT.requirement]);
        assert_eq!(rules("```console regressed\n# pfnwatch scan\n```\n"), [NO_TEST.requirement]);
        assert_eq!(rules("```\n$ pfnwatch scan\n```\n"), [LANGUAGE.requirement]);
    }
}
