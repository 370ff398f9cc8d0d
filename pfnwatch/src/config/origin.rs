//! What is in force, value by value, and where each comes from.

use std::ops::Range;

use serde_json::{Number, Value as Json};
use toml::de::{DeTable, DeValue, Error};

use super::merge::{is_tables, merged};
use super::source::ConfigFiles;

/// The example configuration, which a test compares with the defaults.
pub const DEFAULTS: &str = include_str!("../../dist/pfnwatch.toml");

/// A table with its values, in the order that TOML requires.
#[derive(Clone, Debug, PartialEq)]
pub struct OriginTable {
    /// Its keys, as `alerts.receivers`.
    pub name: String,
    /// Its index in its list (`[[…]]`), from 1; `None` if it is in none.
    pub number: Option<usize>,
    pub values: Vec<Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub key: String,
    /// As written in its file, without possible secrets.
    pub text: String,
    pub json: Json,
    /// Its offset among the bytes of all files.
    pub offset: usize,
}

pub fn tables(sources: &ConfigFiles) -> Result<Vec<OriginTable>, Error> {
    let mut tables = Vec::new();
    let all = merged(sources)?.into_inner();
    enter(&all, OriginTable { name: String::new(), number: None, values: Vec::new() }, sources, &mut tables);
    Ok(tables)
}

fn enter(table: &DeTable<'_>, mut this: OriginTable, sources: &ConfigFiles, tables: &mut Vec<OriginTable>) {
    let mut below = Vec::new();
    for (key, value) in table {
        let name =
            if this.name.is_empty() { key.get_ref().to_string() } else { format!("{}.{}", this.name, key.get_ref()) };
        let of = |number| OriginTable { name: name.clone(), number, values: Vec::new() };
        match value.get_ref() {
            DeValue::Table(inner) => below.push((inner, of(None))),
            DeValue::Array(list) if is_tables(list) => {
                let inner = list.iter().filter_map(|it| it.get_ref().as_table());
                below.extend(inner.enumerate().map(|(index, it)| (it, of(Some(index + 1)))));
            }
            plain => {
                let (text, json) = shown(key.get_ref(), plain, &value.span(), sources);
                this.values.push(Value { key: key.get_ref().to_string(), text, json, offset: key.span().start });
            }
        }
    }
    if !this.values.is_empty() {
        tables.push(this);
    }
    for (inner, of) in below {
        enter(inner, of, sources, tables);
    }
}

/// The value as text and as JSON. The path of a URL may be a secret, and is cut.
fn shown(key: &str, value: &DeValue<'_>, span: &Range<usize>, sources: &ConfigFiles) -> (String, Json) {
    if let ("url", Some(url)) = (key, value.as_str()) {
        let hidden = without_secret(url);
        return (format!("{hidden:?}"), hidden.into());
    }
    let text = sources.text(span).unwrap_or_default();
    // A list may span several lines.
    let text = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    (text, json(value))
}

/// The URL up to its host and port.
fn without_secret(url: &str) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at_checked(after_scheme).unwrap_or(("", url));
    match rest.find(['/', '?', '#']).and_then(|at| rest.split_at_checked(at)) {
        Some((host, path)) if path != "/" => format!("{scheme}{host}/…"),
        _ => url.to_owned(),
    }
}

fn json(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(text) => Json::from(text.as_ref()),
        DeValue::Boolean(is) => Json::from(*is),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).map_or(Json::Null, Json::from),
        DeValue::Float(number) => {
            number.as_str().parse().ok().and_then(Number::from_f64).map_or(Json::Null, Json::Number)
        }
        DeValue::Datetime(time) => Json::from(time.to_string()),
        DeValue::Array(list) => list.iter().map(|it| json(it.get_ref())).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref()))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables_of(files: &[(&str, &str)]) -> Vec<String> {
        let sources = ConfigFiles::of(files);
        let mut lines = Vec::new();
        for table in tables(&sources).unwrap() {
            for value in table.values {
                let place = sources.place(value.offset).unwrap();
                let number = table.number.map(|it| format!("#{it}")).unwrap_or_default();
                lines.push(format!("{}{number}.{} = {} ({place})", table.name, value.key, value.text));
            }
        }
        lines
    }

    #[test]
    fn the_later_file_has_the_word_on_a_key() {
        let lines = tables_of(&[
            ("a", "[guard]\nmode = \"audit\"\non_agent_exit = \"hold\"\n"),
            ("b", "\n[guard]\n mode = \"enforce\""),
        ]);
        assert_eq!(
            lines,
            ["guard.mode = \"enforce\" (b, line 3, column 2)", "guard.on_agent_exit = \"hold\" (a, line 3, column 1)"]
        );
    }

    #[test]
    fn lists_of_tables_grow_and_other_lists_are_replaced() {
        let one = |reason: &str| format!("[[exemptions]]\nregion_start = \"1\"\nreason = \"{reason}\"\n");
        let (first, second) =
            (format!("{}[web]\nhosts = [\"a\",\n  \"b\"]\n", one("x")), format!("{}[web]\nhosts = [\"c\"]", one("y")));
        let lines = tables_of(&[("a", &first), ("b", &second)]);
        assert_eq!(
            lines,
            [
                "exemptions#1.reason = \"x\" (a, line 3, column 1)",
                "exemptions#1.region_start = \"1\" (a, line 2, column 1)",
                "exemptions#2.reason = \"y\" (b, line 3, column 1)",
                "exemptions#2.region_start = \"1\" (b, line 2, column 1)",
                "web.hosts = [\"c\"] (b, line 5, column 1)"
            ]
        );
        let lines = tables_of(&[("a", &first), ("b", "exemptions = []")]);
        assert_eq!(
            lines,
            [".exemptions = [] (b, line 1, column 1)", "web.hosts = [\"a\", \"b\"] (a, line 5, column 1)"]
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        for (url, shown) in [
            ("http://127.0.0.1:8080/pfnwatch", "http://127.0.0.1:8080/…"),
            ("https://hooks.example.com/services/T0/B0/secret?x=y", "https://hooks.example.com/…"),
            ("https://alerts.example.com:9093", "https://alerts.example.com:9093"),
            ("https://alerts.example.com/", "https://alerts.example.com/"),
            ("https://alerts.example.com?token=secret", "https://alerts.example.com/…"),
            ("/secret", "/…"),
        ] {
            assert_eq!(without_secret(url), shown);
        }
        let text = "[[alerts.receivers]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"https://h.example.com/secret\"";
        assert!(!tables_of(&[("a", text)]).join("\n").contains("secret"));
    }

    #[test]
    fn numbers_are_numbers() {
        let sources = ConfigFiles::of(&[(
            "a",
            "a = 0x10\nb = 1.5\nc = true\nd = 2026-12-31T00:00:00Z\ne = [1]\nf = { g = nan }",
        )]);
        let json: Vec<_> =
            tables(&sources).unwrap().into_iter().flat_map(|it| it.values).map(|it| it.json.to_string()).collect();
        assert_eq!(json, ["16", "1.5", "true", "\"2026-12-31T00:00:00Z\"", "[1]", "null"]);
    }
}
