//! Holds JSON that pfnwatch wrote against the schemas that it publishes: for unit tests, tests of the built binary and guests.
//!
//! A validator of our own, for the keywords that our schemas have: those of crates.io take a minute to build, twice (host and
//! guest), and compile every schema in each process, where a guest is emulated and a test is a process. It is stricter than the
//! published rule: a key that the schema does not know is an error, since what a test meets is of this version. A keyword that
//! it does not know is an error too, so that none is passed over.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "included by several programs, all of them tests"
)]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value};

const BUNDLE: &str = include_str!("../../dist/schema.json");

const UNKNOWN: &str = "the schema has a keyword that is not known here";

static ALL: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(BUNDLE).unwrap());

pub type Mismatch = String;

pub fn check(name: &str, document: &Value) -> Result<(), Mismatch> {
    check_in(&ALL, name, document).map_err(|why| format!("it is no `{name}`: {why}\n{document:#}"))
}

/// Validates an event against the schema of its kind.
pub fn check_event(event: &Value) -> Result<(), Mismatch> {
    let kind = event.get("event").and_then(Value::as_str).ok_or_else(|| format!("it has no kind: {event}"))?;
    check(&format!("event.{kind}"), event)
}

pub fn check_report(arguments: &[&str], said: &str) -> Result<(), Mismatch> {
    let is = |words: &[&str]| words.iter().all(|word| arguments.contains(word));
    let json = |text: &str| serde_json::from_str(text).map_err(|error| format!("{arguments:?}: {error}: {text}"));
    if is(&["events"]) && !is(&["restore-block"]) {
        return said.lines().try_for_each(|line| check_event(&json(line)?));
    }
    let named = [
        (&["alerts", "list"][..], "alerts-list"),
        (&["alerts", "test"], "alerts-test"),
        (&["allow", "--list"], "allow-list"),
        (&["allow", "--revoke"], "allow-revoke"),
        (&["allow"], "allow"),
        (&["baseline", "accept"], "baseline-accept"),
        (&["baseline"], "baseline"),
        (&["config", "show"], "config-show"),
        (&["doctor"], "doctor"),
        (&["events", "restore-block"], "events-restore-block"),
        (&["fleet", "readiness"], "fleet-readiness"),
        (&["fleet"], "fleet"),
        (&["guard", "release"], "guard-release"),
        (&["kernel"], "kernel"),
        (&["mode", "audit"], "mode-change"),
        (&["mode", "enforce"], "mode-change"),
        (&["mode"], "mode"),
        (&["plan"], "plan"),
        (&["policy", "check"], "policy-check"),
        (&["predict", "--device"], "predict-device"),
        (&["predict"], "predict"),
        (&["scan", "--against"], "scan-against"),
        (&["scan"], "scan"),
        (&["status"], "status"),
        (&["superblock"], "superblock"),
        (&["why"], "why"),
    ];
    let document = json(said)?;
    let name = match named.iter().find(|(words, _)| is(words)) {
        Some((_, "policy-check")) if document.get("valid") == Some(&Value::Bool(false)) => "policy-check-refused",
        Some((_, name)) => name,
        None => return Err(format!("no schema is known for the output of {arguments:?}")),
    };
    check(name, &document)
}

pub fn check_output(arguments: &[&str], said: &str) -> Result<(), Mismatch> {
    let in_json = arguments.windows(2).any(|it| it == ["--format", "json"]);
    if in_json && !said.is_empty() { check_report(arguments, said) } else { Ok(()) }
}

pub fn check_in(all: &Value, name: &str, document: &Value) -> Result<(), Mismatch> {
    let schema = definition(all, name)?;
    Checker { all }.whole(schema, document, "")
}

/// The keywords of these schemas that [`check`] does not implement.
pub fn unknown_keywords(all: &Value) -> Vec<String> {
    let inner = |says: &Value| match says {
        Value::Array(list) => list.iter().flat_map(unknown_keywords).collect(),
        other => unknown_keywords(other),
    };
    let fields =
        |says: &Value| says.as_object().into_iter().flatten().flat_map(|(_, it)| unknown_keywords(it)).collect();
    let checker = Checker { all: &Value::Null };
    let keywords = all.as_object().into_iter().flatten();
    let unknown = keywords.flat_map(|(keyword, says)| match &**keyword {
        "$defs" | "properties" => fields(says),
        "additionalProperties" | "allOf" | "anyOf" | "items" | "oneOf" => inner(says),
        "$ref" => Vec::new(),
        _ => {
            let mismatch = checker.keyword(keyword, says, &Map::new(), &Value::Null, "").err().unwrap_or_default();
            if mismatch.contains(UNKNOWN) { vec![keyword.clone()] } else { Vec::new() }
        }
    });
    unknown.collect()
}

fn definition<'a>(all: &'a Value, name: &str) -> Result<&'a Value, Mismatch> {
    all.get("$defs").and_then(|defs| defs.get(name)).ok_or_else(|| format!("there is no schema {name}"))
}

struct Checker<'a> {
    all: &'a Value,
}

type VisitedKeys = BTreeSet<String>;

impl Checker<'_> {
    /// A value with its contents: every key must be known.
    fn whole(&self, schema: &Value, value: &Value, at: &str) -> Result<(), Mismatch> {
        let seen = self.part(schema, value, at)?;
        let Value::Object(fields) = value else { return Ok(()) };
        match fields.keys().find(|key| !seen.contains(*key)) {
            Some(key) if schema != &Value::Bool(true) => Err(format!("{at}: the key `{key}` is not in the schema")),
            _ => Ok(()),
        }
    }

    fn part(&self, schema: &Value, value: &Value, at: &str) -> Result<VisitedKeys, Mismatch> {
        let keywords = match schema {
            Value::Bool(true) => return Ok(VisitedKeys::new()),
            Value::Object(keywords) => keywords,
            _ => return Err(format!("{at}: no schema: {schema}")),
        };
        let mut seen = VisitedKeys::new();
        for (keyword, says) in keywords {
            seen.extend(self.keyword(keyword, says, keywords, value, at)?);
        }
        Ok(seen)
    }

    fn keyword(
        &self,
        keyword: &str,
        says: &Value,
        all: &Map<String, Value>,
        value: &Value,
        at: &str,
    ) -> Result<VisitedKeys, Mismatch> {
        let fits = |fits: bool| {
            if fits { Ok(VisitedKeys::new()) } else { Err(format!("{at}: {value} is not {keyword} {says}")) }
        };
        let each = || says.as_array().into_iter().flatten();
        match keyword {
            "$comment" | "$schema" | "default" | "description" | "title" => Ok(VisitedKeys::new()),
            "$ref" => {
                let name = says.as_str().and_then(|it| it.strip_prefix("#/$defs/")).ok_or("a strange $ref")?;
                self.part(definition(self.all, name)?, value, at)
            }
            "type" => fits(std::iter::once(says).chain(each()).any(|kind| is_of(kind, value))),
            "const" => fits(says == value),
            "enum" => fits(each().any(|it| it == value)),
            "minimum" => fits(number(value).zip(number(says)).is_none_or(|(is, least)| is >= least)),
            "maximum" => fits(number(value).zip(number(says)).is_none_or(|(is, most)| is <= most)),
            "minLength" => fits(length(value).zip(says.as_u64()).is_none_or(|(is, least)| is >= least)),
            "maxLength" => fits(length(value).zip(says.as_u64()).is_none_or(|(is, most)| is <= most)),
            "format" => fits(is_written_as(says.as_str().unwrap_or_default(), value)),
            "pattern" => fits(value.as_str().is_none_or(|text| is_hexadecimal(says, text))),
            "required" => {
                let missing =
                    each().filter_map(Value::as_str).find(|key| value.is_object() && value.get(key).is_none());
                missing.map_or(Ok(VisitedKeys::new()), |key| Err(format!("{at}: the key `{key}` is missing")))
            }
            "properties" => self.properties(says, value, at),
            "additionalProperties" => self.others(says, all, value, at),
            "items" => {
                let mut list = value.as_array().into_iter().flatten().enumerate();
                list.try_for_each(|(index, it)| self.whole(says, it, &format!("{at}/{index}")))?;
                Ok(VisitedKeys::new())
            }
            "allOf" => {
                each().map(|it| self.part(it, value, at)).try_fold(VisitedKeys::new(), |seen, it| Ok(&seen | &it?))
            }
            "anyOf" | "oneOf" => self.alternatives(keyword == "oneOf", says, value, at),
            _ => Err(format!("{at}: {UNKNOWN}: {keyword}")),
        }
    }

    fn properties(&self, says: &Value, value: &Value, at: &str) -> Result<VisitedKeys, Mismatch> {
        let mut seen = VisitedKeys::new();
        for (key, schema) in says.as_object().into_iter().flatten() {
            if let Some(value) = value.get(key) {
                self.whole(schema, value, &format!("{at}/{key}"))?;
                seen.insert(key.clone());
            }
        }
        Ok(seen)
    }

    /// The keys of a map, which are no fields.
    fn others(&self, says: &Value, all: &Map<String, Value>, value: &Value, at: &str) -> Result<VisitedKeys, Mismatch> {
        let named = |key: &str| all.get("properties").is_some_and(|it| it.get(key).is_some());
        let others = value.as_object().into_iter().flatten().filter(|(key, _)| !named(key));
        let seen = others.map(|(key, it)| self.whole(says, it, &format!("{at}/{key}")).map(|()| key.clone()));
        seen.collect()
    }

    fn alternatives(&self, only_one: bool, says: &Value, value: &Value, at: &str) -> Result<VisitedKeys, Mismatch> {
        let all = says.as_array().into_iter().flatten().map(|it| self.part(it, value, at));
        let (fit, mismatches): (Vec<_>, Vec<_>) = all.partition(Result::is_ok);
        if fit.is_empty() || only_one && fit.len() > 1 {
            let why: Vec<String> = mismatches.into_iter().filter_map(Result::err).collect();
            return Err(format!("{at}: {} alternatives fit: {}", fit.len(), why.join("; ")));
        }
        Ok(fit.into_iter().flatten().flatten().collect())
    }
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

fn length(value: &Value) -> Option<u64> {
    value.as_str().and_then(|text| u64::try_from(text.chars().count()).ok())
}

/// Formats of numbers, and values that are no text, are checked by other keywords.
fn is_written_as(format: &str, value: &Value) -> bool {
    let Some(text) = value.as_str() else { return true };
    let like = |pattern: &str| {
        text.len() == pattern.len()
            && text.bytes().zip(pattern.bytes()).all(|(is, like)| match like {
                b'd' => is.is_ascii_digit(),
                b'x' => is.is_ascii_hexdigit(),
                _ => is == like,
            })
    };
    match format {
        "date-time" => like("dddd-dd-ddTdd:dd:dd.ddddddZ") || like("dddd-dd-ddTdd:dd:ddZ"),
        "uuid" => like("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"),
        _ => false,
    }
}

fn is_hexadecimal(pattern: &Value, text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    let digit = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
    pattern == "^0x[0-9a-f]{1,16}$" && (1..=16).contains(&digits.len()) && digits.bytes().all(digit)
}
