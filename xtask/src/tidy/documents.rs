//! The commands that documents for users show are run by a test in a guest (`guest::documents`), or are listed here.

use guest::documents::block::{self, Block};

use super::tree::File;
use super::{Tree, Violation, broken};
use crate::picture;

pub(super) const LANGUAGE: &str = "a block of a document for users has a language (console, toml, sh, or one of data): \
    write it behind the fence; commands with their output are `console`";
pub(super) const PROMPT: &str = "a command is shown in a `console` block, which begins with it, and is run by a test: make \
    it one (`# ` is root's prompt, `$ ` that of others), and run `cargo xtask docs --update`";
pub(super) const NOT_RUN: &str = "a command of an `sh` block, which no test runs, is listed with the reason: make it a \
    `console` block, or add it to UNRUN in xtask/src/tidy/documents.rs";
pub(super) const LEFT_OVER: &str = "a document shows each command that is listed as not run by a test: remove it from \
    UNRUN in xtask/src/tidy/documents.rs";
pub(super) const NO_TEST: &str = "a test runs the commands of each document for users, for each kind of kernel: add the \
    page to tests/e2e/documents.rs, with `true` for blocks of a regressed kernel";
pub(super) const PICTURE: &str = "docs/scan.svg shows the scan of README.md: run `cargo xtask docs --picture`";
pub(super) const README_LENGTH: &str = "README.md has at most 150 lines: move details to docs/";

const MAX_README_LINES: usize = 150;
const FLEET: &str = "docs/fleet.md";
pub(super) const TESTS: &str = "tests/e2e/documents.rs";
/// The function there that runs a page.
pub(super) const RUNS_PAGE: &str = "run";
const LANGUAGES: [&str; 8] = ["console", "toml", "sh", "json", "yaml", "promql", "ini", "text"];

const ITSELF: &str = "the project's own command: a stage of the test run, or the run itself";
const INSTALLED: &str = "tests/e2e/debian installs, reloads and asks the package under systemd";

/// Commands that cannot be run in a bare guest, by their beginning, with the reason or the test that replaces it.
const UNRUN: &[(&str, &str)] = &[
    ("cargo xtask ", ITSELF),
    ("sudo apt install ./target/dist/pfnwatch_*.deb", INSTALLED),
    ("sudo pfnwatch kernel --running ", "docs/predict-and-plan.md runs it as root"),
    ("sudo pfnwatch scan ", "README.md runs it as root"),
    ("sudo install -m 644 new.toml ", INSTALLED),
    ("sudo systemctl reload pfnwatch", INSTALLED),
    ("journalctl --unit pfnwatch PFNWATCH_EVENT=", "tests/e2e/debian asks journald for the fields of an event"),
    ("pfnwatch run --log stdout --format json", "what every agent of tests/e2e is started with"),
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let pages = || tree.files.iter().filter(|file| is_for_users(&file.path));
    let mut found: Vec<Violation> = pages().flat_map(page).collect();
    let tests = tree.file(TESTS).map_or("", |file| file.text.as_str());
    found.extend(pages().flat_map(|page| untested(page, tests)));
    found.extend(readme(tree));
    if tree.paths.iter().any(|path| path == "docs") {
        let blocks = pages().flat_map(|file| block::blocks(&file.text));
        let shown: Vec<String> = blocks.flat_map(|block| block.body).collect();
        let unused = UNRUN.iter().filter(|(begin, _)| !shown.iter().any(|line| line.starts_with(begin)));
        found.extend(unused.map(|(begin, _)| broken(LEFT_OVER, "xtask/src/tidy/documents.rs", 0, *begin)));
    }
    found
}

fn readme(tree: &Tree) -> Vec<Violation> {
    let Some(readme) = tree.file(picture::README) else { return Vec::new() };
    let lines = readme.text.lines().count();
    let long = (lines > MAX_README_LINES).then(|| broken(README_LENGTH, &readme.path, 0, format!("{lines} lines")));
    let drawn = picture::of_readme(&readme.text);
    let shown = tree.file(picture::FILE).map(|file| file.text.clone());
    let stale = (drawn.is_some() && drawn != shown)
        .then(|| broken(PICTURE, picture::FILE, 0, "it is not what README.md shows"));
    long.into_iter().chain(stale).collect()
}

fn is_for_users(path: &str) -> bool {
    path.ends_with(".md") && (path == "README.md" || path.starts_with("docs/"))
}

fn page(file: &File) -> Vec<Violation> {
    block::blocks(&file.text).iter().flat_map(|block| in_block(file, block)).collect()
}

/// The kinds of kernel for which a page has commands that no test runs.
fn untested(file: &File, tests: &str) -> Vec<Violation> {
    let blocks = block::blocks(&file.text);
    let tested = |regressed: bool| tests.contains(&format!("{RUNS_PAGE}(\"{}\", {regressed})", file.path));
    let shown = |regressed| blocks.iter().any(|block| block.language == "console" && block.is_for(regressed));
    let untested = [false, true].into_iter().filter(|regressed| shown(*regressed) && !tested(*regressed));
    untested
        .map(|regressed| broken(NO_TEST, &file.path, 0, format!("no test runs it; regressed: {regressed}")))
        .collect()
}

fn in_block(file: &File, block: &Block) -> Vec<Violation> {
    let at = |index: usize| block.line + index + 1;
    let lines = || block.body.iter().enumerate();
    match block.language.as_str() {
        // One test runs those of one page.
        "console" if block.is_of_a_fleet() && file.path != FLEET => {
            vec![broken(NO_TEST, &file.path, block.line, "a fleet's block outside of its page")]
        }
        "console" if block.begins_with_a_command() => Vec::new(),
        "console" => vec![broken(PROMPT, &file.path, block.line, "a block that begins with no command")],
        "sh" => {
            let listed = |line: &str| UNRUN.iter().any(|(begin, _)| line.starts_with(begin));
            let unknown = lines().filter(|(_, line)| !line.trim().is_empty() && !listed(line));
            unknown.map(|(index, line)| broken(NOT_RUN, &file.path, at(index), line)).collect()
        }
        language if LANGUAGES.contains(&language) => {
            let commands = lines().filter(|(_, line)| line.starts_with("$ "));
            commands.map(|(index, line)| broken(PROMPT, &file.path, at(index), line)).collect()
        }
        other => vec![broken(LANGUAGE, &file.path, block.line, format!("a block of {other:?}"))],
    }
}
