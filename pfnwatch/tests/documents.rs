//! The documents for users match this program: all that they name exists, and all that exists is named. (Guests check
//! the output of the commands in them: `cargo xtask docs`.)
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy knows tests by #[test] alone, and not what they call")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use pfnwatch::cli::Cli;
use pfnwatch::model::event::UnjudgedReason;
use pfnwatch::model::verdict::{Cause, Verdict};
use pfnwatch::model::why::FailureCause;
use strum::IntoEnumIterator as _;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.map(|path| if path.is_dir() { files(&path, ending) } else { vec![path] });
    found.flatten().filter(|path| path.extension().is_some_and(|own| own == ending)).collect()
}

/// Each variant follows from the one before: a new one does not compile until it is here.
fn verdicts() -> Vec<Verdict> {
    let next = |verdict| match verdict {
        Verdict::Ok => Some(Verdict::Oversize),
        Verdict::Oversize => Some(Verdict::Refused),
        Verdict::Refused => Some(Verdict::Unknown),
        Verdict::Unknown => None,
    };
    std::iter::successors(Some(Verdict::Ok), |verdict| next(*verdict)).collect()
}

fn causes() -> Vec<Cause> {
    let next = |cause| match cause {
        Cause::RegressedKernel => Some(Cause::NoDeduplication),
        Cause::NoDeduplication => Some(Cause::SystemRam),
        Cause::SystemRam => Some(Cause::Rounding),
        Cause::Rounding => Some(Cause::SmallerPages),
        Cause::SmallerPages => Some(Cause::SmallerStructPage),
        Cause::SmallerStructPage => Some(Cause::OlderKernel),
        Cause::OlderKernel => Some(Cause::Resized),
        Cause::Resized => Some(Cause::Moved),
        Cause::Moved => Some(Cause::WideStructPage),
        Cause::WideStructPage => Some(Cause::HandMade),
        Cause::HandMade => Some(Cause::Unexplained),
        Cause::Unexplained => Some(Cause::None),
        Cause::None => None,
    };
    std::iter::successors(Some(Cause::RegressedKernel), |cause| next(*cause)).collect()
}

fn reasons() -> Vec<UnjudgedReason> {
    let next = |why| match why {
        UnjudgedReason::NotArmed => Some(UnjudgedReason::ModuleChanged),
        UnjudgedReason::ModuleChanged => Some(UnjudgedReason::NoMaxStructPage),
        UnjudgedReason::NoMaxStructPage => Some(UnjudgedReason::PolicyChanged),
        UnjudgedReason::PolicyChanged => Some(UnjudgedReason::BlockMissed),
        UnjudgedReason::BlockMissed => None,
    };
    std::iter::successors(Some(UnjudgedReason::NotArmed), |why| next(*why)).collect()
}

#[test]
fn every_verdict_and_cause_has_its_section() {
    let page = page("docs/verdicts.md");
    let reason = |why| serde_json::to_value::<UnjudgedReason>(why).unwrap().as_str().unwrap().to_owned();
    let mut words: Vec<String> = verdicts().into_iter().map(|verdict| verdict.as_str().to_owned()).collect();
    words.extend(causes().into_iter().map(|cause| cause.as_str().to_owned()));
    words.extend(reasons().into_iter().map(reason));
    let expected: Vec<String> = words.iter().map(|word| format!("### `{word}`")).collect();
    let sections: Vec<&str> = page.lines().filter(|line| line.starts_with("### ")).collect();
    assert_eq!(sections, expected);
    for cause in causes() {
        let letter = cause.class().map(|letter| format!("### `{}`\n**{letter}.**", cause.as_str()));
        assert!(letter.is_none_or(|begin| page.contains(&begin)), "the letter of {cause:?}");
    }
}

/// The program's source as one text, its strings as they come out of the compiler.
fn source() -> String {
    let common = root().join("pfnwatch-common/src");
    let src = root().join("pfnwatch/src");
    // A plan prints shell code, which has messages of its own.
    let all = [files(&src, "rs"), files(&src, "sh"), files(&common, "rs")];
    let text = all.iter().flatten().map(|file| fs::read_to_string(file).unwrap()).collect::<String>();
    let mut joined = String::new();
    for part in text.split("\\\n") {
        joined += if joined.is_empty() { part } else { part.trim_start() };
    }
    joined
}

#[test]
fn messages_of_the_troubleshooting_page_are_in_the_program() {
    let (page, source) = (page("docs/troubleshooting.md"), source());
    let ours = page.split("\n## ").find(|part| part.starts_with("Messages of pfnwatch")).unwrap();
    let messages: Vec<&str> = ours.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert!(messages.len() > 20, "{messages:?}");
    for message in messages {
        let pieces = message.trim_matches('`').split('…').map(str::trim).filter(|piece| !piece.is_empty());
        for piece in pieces {
            assert!(source.contains(piece), "{piece:?} of {message} is not in the source");
        }
    }
}

/// That each message is there is a unit test of what recognizes them.
#[test]
fn the_troubleshooting_page_has_the_causes_that_why_gives() {
    let page = page("docs/troubleshooting.md");
    let causes: Vec<&str> = FailureCause::iter().map(FailureCause::as_str).collect();
    for cause in &causes {
        assert!(page.contains(&format!("`{cause}`")), "{cause}");
    }
    for line in page.lines().filter_map(|line| line.strip_prefix("`pfnwatch why`: ")) {
        let named = line.split('`').skip(1).step_by(2);
        assert!(named.clone().count() > 0 && named.clone().all(|cause| causes.contains(&cause)), "{line}");
    }
    let parts: Vec<&str> = page.split("\n## ").filter(|part| !part.starts_with("Messages of pfnwatch")).collect();
    let sections = parts.iter().flat_map(|part| part.split("\n### ").skip(1));
    let (answered, silent): (Vec<_>, Vec<_>) = sections.partition(|section| section.contains("`pfnwatch why`"));
    assert!(answered.len() > 25 && silent.is_empty(), "without what `why` answers: {silent:?}");
}

fn quoted_commands() -> Vec<(String, String)> {
    let pages = files(&root().join("docs"), "md").into_iter().chain([root().join("README.md")]);
    let mut commands = Vec::new();
    for file in pages {
        let (text, name) = (fs::read_to_string(&file).unwrap(), file.display().to_string());
        let prose = text.split("```").step_by(2).collect::<String>();
        for code in prose.split('`').skip(1).step_by(2) {
            let code = code.strip_prefix("sudo ").unwrap_or(code).replace('\n', " ");
            commands.extend(code.strip_prefix("pfnwatch ").map(|words| (name.clone(), words.to_owned())));
        }
    }
    commands
}

#[test]
fn commands_within_sentences_are_commands() {
    let commands = quoted_commands();
    assert!(commands.len() > 30, "{commands:?}");
    for (file, words) in commands {
        let mut command = Cli::command();
        command.build();
        for word in words.split_whitespace() {
            if let Some(option) = word.strip_prefix("--") {
                let known = command.get_arguments().any(|known| known.get_long() == Some(option));
                assert!(known, "{file}: `pfnwatch {words}`: {} has no --{option}", command.get_name());
            } else if let Some(sub) = command.find_subcommand(word) {
                command = sub.clone();
            } else {
                assert!(command.get_name() != "pfnwatch", "{file}: there is no `pfnwatch {word}`");
            }
        }
    }
}
