//! The phrases that the project's texts do not use (`xtask/words.toml`).

use serde::Deserialize;

use super::tree::File;
use super::{Tree, Violation, broken};

pub(super) const WORDS: &str = "new text uses the field's words, xtask/words.toml lists what to write instead: rewrite \
    the sentence; a line that has to have the phrase gets the comment `words: allow (REASON)`";
pub(super) const MARKED: &str = "`words: allow (REASON)` gives a reason, and a phrase of the list follows in its line or \
    the next: add the reason, or remove the comment";

pub(super) const LIST: &str = "xtask/words.toml";
const MARK: &str = "words: allow";
/// Not checked: the list, the tests of these rules, and what is generated out of doc comments.
const UNCHECKED: [&str; 5] = [
    LIST,
    "xtask/src/tidy/cases.toml",
    "xtask/src/tidy/tests.rs",
    "xtask/src/tidy/words.rs",
    "pfnwatch/dist/schema.json",
];
const KINDS: [&str; 8] = ["md", "rs", "toml", "yml", "yaml", "json", "service", "sh"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    phrase: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    phrases: Vec<String>,
    instead: String,
}

struct Finding {
    line: usize,
    text: String,
}

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let list: List = match tree.toml(LIST) {
        Ok(list) => list,
        Err(broken) => return broken,
    };
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| is_checked(&file.path)) {
        let (findings, violations) = findings(file, &list);
        found.extend(violations);
        found.extend(findings.into_iter().map(|Finding { line, text }| broken(WORDS, &file.path, line, text)));
    }
    found
}

fn is_checked(path: &str) -> bool {
    let kind = path.rsplit_once('.').map_or("", |(_, kind)| kind);
    KINDS.contains(&kind) && !UNCHECKED.contains(&path)
}

/// The phrases of a file that no comment allows, and comments that allow nothing.
fn findings(file: &File, list: &List) -> (Vec<Finding>, Vec<Violation>) {
    let text = if file.path.ends_with(".rs") { &file.source().prose } else { &file.text };
    let lines: Vec<&str> = text.lines().collect();
    let mut found = phrases(&lines, list);
    let mut violations = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        // Between backquotes it is quoted.
        let Some((_, reason)) = line.split_once(MARK).filter(|(before, _)| !before.ends_with('`')) else { continue };
        let is_reasoned = reason.trim_start().strip_prefix('(').is_some_and(|reason| reason.trim_start().len() > 3);
        let before = found.len();
        found.retain(|finding| ![index + 1, index + 2].contains(&finding.line));
        if found.len() == before || !is_reasoned {
            violations.push(broken(MARKED, &file.path, index + 1, line.trim()));
        }
    }
    (found, violations)
}

fn phrases(lines: &[&str], list: &List) -> Vec<Finding> {
    let words: Vec<(usize, String)> = lines.iter().enumerate().flat_map(|(index, line)| words(index, line)).collect();
    let mut found = Vec::new();
    for (entry, phrase) in list.phrase.iter().flat_map(|entry| entry.phrases.iter().map(move |phrase| (entry, phrase)))
    {
        let wanted: Vec<&str> = phrase.split(' ').collect();
        let is_it = |place: &&[(usize, String)]| place.iter().map(|(_, word)| word.as_str()).eq(wanted.iter().copied());
        found.extend(words.windows(wanted.len()).filter(is_it).filter_map(|place| {
            let index = place.first()?.0;
            let text = format!("{phrase:?} (write: {}) | {}", entry.instead, lines.get(index)?.trim());
            Some(Finding { line: index + 1, text })
        }));
    }
    found
}

/// The words of a line outside of `code`, in lower case; a mark that ends a phrase is an empty word.
fn words(index: usize, line: &str) -> Vec<(usize, String)> {
    let fence = line.trim_start().starts_with("```");
    let outside = line.split('`').step_by(if fence { usize::MAX } else { 2 });
    let mut found = Vec::new();
    for part in outside {
        let mut rest = part;
        while let Some(start) = rest.find(|c: char| c.is_alphanumeric() || ".,;:!?()\"".contains(c)) {
            let (before, from) = rest.split_at(start);
            let end = from.find(|c: char| !(c.is_alphanumeric() || "_-'’".contains(c))).unwrap_or(from.len());
            let (word, after) = from.split_at(end.max(1));
            // `{name}` in a format string is code.
            let word =
                if end == 0 || before.ends_with('{') { "" } else { word.trim_end_matches(['_', '-', '\'', '’']) };
            found.push((index, word.to_lowercase()));
            rest = after;
        }
    }
    found
}
