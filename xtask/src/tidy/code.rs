//! Rules about lines of code: `xtask/code.toml` lists them.

use regex_lite::Regex;
use serde::{Deserialize, Deserializer, de::Error};

use super::{Tree, Violation, broken};

pub(super) const LIST: &str = "xtask/code.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    rule: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    rule: String,
    about: Vec<String>,
    except: Option<String>,
    #[serde(deserialize_with = "patterns")]
    all: Vec<Regex>,
}

fn patterns<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Regex>, D::Error> {
    Vec::<String>::deserialize(from)?.iter().map(|pattern| Regex::new(pattern).map_err(D::Error::custom)).collect()
}

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let List { rule: rules } = match tree.toml(LIST) {
        Ok(list) => list,
        Err(broken) => return broken,
    };
    let mut found = Vec::new();
    for Rule { rule, about, except, all } in &rules {
        for file in tree.rust().filter(|file| !file.is_test() && about.iter().any(|module| file.is_of(module))) {
            if except.as_ref().is_some_and(|module| file.is_of(module)) {
                continue;
            }
            let lines = file.source().code.lines().enumerate();
            let breaking = lines.filter(|(_, line)| all.iter().all(|pattern| pattern.is_match(line)));
            found.extend(breaking.map(|(index, line)| broken(rule, &file.path, index + 1, line.trim())));
        }
    }
    found
}
