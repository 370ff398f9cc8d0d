//! The words that the project's texts do not use (`xtask/words.toml`), and the old lines that still do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use super::tree::File;
use super::{Rule, Tree, Violation};
use crate::paths;

static WORDS: Rule = Rule {
    requirement: "new text uses the field's words: xtask/words.toml lists what to write instead",
    remedy: "rewrite the sentence; a line that has to have the phrase gets the comment `words: allow (REASON)`",
};
static CONSTANTS: Rule =
    Rule { requirement: "a constant's name begins with the field's word for what it limits", remedy: "rename it" };
static SHRINKS: Rule = Rule {
    requirement: "each line of xtask/words-exceptions.txt is in the tree, and has a phrase of the list",
    remedy: "cargo xtask check --shrink-words",
};
static MARKED: Rule = Rule {
    requirement: "`words: allow (REASON)` gives a reason, and a phrase of the list follows in its line or the next",
    remedy: "add the reason, or remove the comment",
};

const LIST: &str = "xtask/words.toml";
const EXCEPTIONS: &str = "xtask/words-exceptions.txt";
const MARK: &str = "words: allow";
/// Not checked: the list, its own tests, and what is generated out of doc comments.
const UNCHECKED: [&str; 3] = [LIST, "xtask/src/tidy/words.rs", "pfnwatch/dist/schema.json"];
const KINDS: [&str; 7] = ["md", "rs", "toml", "yml", "yaml", "json", "service"];

/// The list as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    phrase: Vec<Phrases>,
    constant: Vec<Constants>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Phrases {
    phrases: Vec<String>,
    instead: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Constants {
    words: Vec<String>,
    instead: String,
}

/// A phrase in a file.
struct Finding {
    rule: &'static Rule,
    line: usize,
    phrase: String,
    instead: String,
    /// What an exception would have to be.
    key: String,
}

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let list = match read(tree) {
        Ok(list) => list,
        Err(error) => return vec![WORDS.broken(LIST, 0, format!("{error:#}"))],
    };
    let exceptions: BTreeMap<&str, usize> = tree
        .file(EXCEPTIONS)
        .map(|file| file.lines().map(|(number, line)| (line, number)).collect())
        .unwrap_or_default();
    let mut unused = exceptions.clone();
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| is_checked(&file.path)) {
        let (findings, violations) = findings(file, &list);
        found.extend(violations);
        for Finding { rule, line, phrase, instead, key } in findings {
            unused.remove(key.as_str());
            if !exceptions.contains_key(key.as_str()) {
                found.push(rule.broken(&file.path, line, format!("{phrase:?} (write: {instead}) | {key}")));
            }
        }
    }
    found.extend(
        unused.iter().map(|(line, number)| SHRINKS.broken(EXCEPTIONS, *number, format!("not in the tree: {line}"))),
    );
    found
}

/// Removes the exceptions that match nothing any more.
pub(crate) fn shrink() -> Result<()> {
    let tree = Tree::read(&paths::root())?;
    let unused: BTreeSet<usize> =
        check(&tree).iter().filter(|violation| violation.rule == &SHRINKS).map(|violation| violation.line).collect();
    let file = tree.file(EXCEPTIONS).ok_or_else(|| anyhow!("{EXCEPTIONS} is missing"))?;
    let left: String =
        file.lines().filter(|(number, _)| !unused.contains(number)).map(|(_, line)| format!("{line}\n")).collect();
    println!("{} exceptions removed, {} left", unused.len(), left.lines().count());
    fs::write(paths::root().join(EXCEPTIONS), left).with_context(|| format!("cannot write {EXCEPTIONS}"))
}

fn read(tree: &Tree) -> Result<List> {
    let file = tree.file(LIST).ok_or_else(|| anyhow!("{LIST} is missing"))?;
    Ok(toml::from_str(&file.text)?)
}

fn is_checked(path: &str) -> bool {
    let kind = path.rsplit_once('.').map_or("", |(_, kind)| kind);
    KINDS.contains(&kind) && !UNCHECKED.contains(&path)
}

/// The phrases of a file that no comment allows, and comments that allow nothing.
fn findings(file: &File, list: &List) -> (Vec<Finding>, Vec<Violation>) {
    let is_rust = file.path.ends_with(".rs");
    let text = if is_rust { file.source().prose.as_str() } else { file.text.as_str() };
    let lines: Vec<&str> = text.lines().collect();
    let mut found = phrases(&lines, list);
    if is_rust {
        found.extend(constants(&file.source().code, list));
    }
    let mut violations = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        // Between backquotes it is quoted.
        let Some((_, reason)) = line.split_once(MARK).filter(|(before, _)| !before.ends_with('`')) else { continue };
        let reasoned = reason.trim_start().strip_prefix('(').is_some_and(|reason| reason.trim_start().len() > 3);
        let here = [index + 1, index + 2];
        let before = found.len();
        found.retain(|finding| !here.contains(&finding.line));
        if found.len() == before || !reasoned {
            violations.push(MARKED.broken(&file.path, index + 1, line.trim()));
        }
    }
    (found, violations)
}

fn phrases(lines: &[&str], list: &List) -> Vec<Finding> {
    let words: Vec<(usize, String)> = lines.iter().enumerate().flat_map(|(index, line)| words(index, line)).collect();
    let mut found = Vec::new();
    for entry in &list.phrase {
        for phrase in &entry.phrases {
            let wanted: Vec<&str> = phrase.split(' ').collect();
            let places = words.windows(wanted.len());
            let places = places.filter(|place| place.iter().map(|(_, word)| word.as_str()).eq(wanted.iter().copied()));
            found.extend(places.filter_map(|place| {
                let index = place.first()?.0;
                let key = lines.get(index)?.split_whitespace().collect::<Vec<_>>().join(" ");
                let instead = entry.instead.clone();
                Some(Finding { rule: &WORDS, line: index + 1, phrase: phrase.clone(), instead, key })
            }));
        }
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
            let (_, from) = rest.split_at(start);
            let end = from.find(|c: char| !(c.is_alphanumeric() || "_-'’".contains(c))).unwrap_or(from.len());
            let (word, after) = from.split_at(end.max(1));
            // `{name}` in a format string is code.
            let is_code = part.get(..part.len() - from.len()).is_some_and(|before| before.ends_with('{'));
            let word = if end == 0 || is_code { "" } else { word.trim_end_matches(['_', '-', '\'', '’']) };
            found.push((index, word.to_lowercase()));
            rest = after;
        }
    }
    found
}

/// Constants whose first word is on the list; what an exception has to be is `const NAME`.
fn constants(code: &str, list: &List) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut words = line
            .split(|c: char| c.is_whitespace() || c == ':')
            .skip_while(|word| *word != "const" && *word != "static");
        let Some(name) = words.nth(1) else { continue };
        let first = name.split('_').next().unwrap_or_default();
        let entry = list.constant.iter().find(|entry| entry.words.iter().any(|word| word == first));
        found.extend(entry.map(|entry| {
            let (phrase, instead) = (name.to_owned(), entry.instead.clone());
            Finding { rule: &CONSTANTS, line: index + 1, phrase, instead, key: format!("const {name}") }
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST_TEXT: &str = "[[phrase]]\nphrases = [\"anew\", \"held against\"]\ninstead = \"again\"\n\
        [[constant]]\nwords = [\"MOST\"]\ninstead = \"MAX_*\"\n";

    fn found(path: &str, text: &str, exceptions: &str) -> Vec<String> {
        let tree = Tree::of(&[(LIST, LIST_TEXT), (path, text), (EXCEPTIONS, exceptions)]);
        let found = check(&tree);
        found.iter().map(|violation| format!("{}:{} {}", violation.file, violation.line, violation.found)).collect()
    }

    #[test]
    fn phrases_are_found_in_prose() {
        for text in [
            "read it Anew.",
            "it is 'anew'",
            "_anew_",
            "'anew'",
            "_anew_",
            "a\nanew",
            "is held\nagainst it",
            "* held  against: it",
            "\"anew\"",
            "```\nanew\n```",
        ] {
            assert_eq!(found("a.md", text, "").len(), 1, "{text}");
        }
        for text in ["renew it", "`anew`", "held. Against", "held: against", "re-anew", "anew_is", "{anew:?}"] {
            assert!(found("a.md", text, "").is_empty(), "{text}");
        }
        assert_eq!(found("docs/a.md", "a\n b anew", ""), ["docs/a.md:2 \"anew\" (write: again) | b anew"]);
        assert_eq!(found("a.toml", "# anew", "").len(), 1);
        assert!(found("a.lock", "# anew", "").is_empty());
        assert_eq!(check(&Tree::of(&[])).len(), 1);
    }

    #[test]
    fn rust_is_read_in_comments_and_texts() {
        for text in
            ["/// Held\n/// against it.\nstruct A;", "// anew\n", "fn f() { g(\"anew\") }", "/* anew */", "//! anew"]
        {
            assert_eq!(found("a.rs", text, "").len(), 1, "{text}");
        }
        assert!(found("a.rs", "fn anew() { held(against) }", "").is_empty());
        assert_eq!(found("a.rs", "f! {  \"b anew\",  c }", ""), ["a.rs:1 \"anew\" (write: again) | b anew\""]);
    }

    #[test]
    fn constants_are_named_by_the_fields_words() {
        assert_eq!(
            found("a.rs", "pub const MOST_ROWS: u8 = 1;", ""),
            ["a.rs:1 \"MOST_ROWS\" (write: MAX_*) | const MOST_ROWS"]
        );
        assert_eq!(found("a.rs", "static MOST: u8 = 1;", "").len(), 1);
        assert!(found("a.rs", "const MOSTLY: u8 = MOST_ROWS;\nconst fn f() {}", "").is_empty());
        assert!(found("a.rs", "const MOST_ROWS: u8 = 1;", "const MOST_ROWS\n").is_empty());
    }

    #[test]
    fn lines_are_allowed_with_a_reason() {
        for text in ["// words: allow (a quotation)\n// anew\n", "// anew words: allow (a quotation)\n"] {
            assert!(found("a.rs", text, "").is_empty(), "{text}");
        }
        assert!(found("a.md", "<!-- words: allow (a quotation) -->\nanew\n`words: allow`", "").is_empty());
        for text in ["anew words: allow ()", "anew words: allow", "words: allow (a quotation)\n"] {
            assert_eq!(found("a.md", text, "").len(), 1, "{text}");
        }
        assert_eq!(found("a.md", "words: allow (a quotation)\n\nanew", "").len(), 2);
    }

    #[test]
    fn old_lines_are_excepted_wherever_they_are() {
        for path in ["a.md", "docs/b.md"] {
            assert!(found(path, "  read  it anew\n", "read it anew\n").is_empty());
        }
        assert_eq!(found("a.md", "read it anew, too", "read it anew\n").len(), 2);
        assert_eq!(found("a.md", "", "a\nb anew\n")[1], "xtask/words-exceptions.txt:2 not in the tree: b anew");
    }
}
