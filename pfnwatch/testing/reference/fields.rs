//! The fields of a schema as a table, and the types that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

const UNITS: [(&str, &str); 7] = [
    ("bytes", "bytes"),
    ("us", "µs"),
    ("seconds", "s"),
    ("percent", "%"),
    ("per_million", "millionths"),
    ("address", "physical address"),
    ("bytes_per_tib", "bytes"),
];

struct Row {
    kinds: BTreeSet<String>,
    always: bool,
    meaning: String,
}

pub(super) struct Page<'a> {
    bundle: &'a Value,
    types: BTreeSet<String>,
}

impl<'a> Page<'a> {
    pub(super) const fn new(bundle: &'a Value) -> Self {
        Self { bundle, types: BTreeSet::new() }
    }

    pub(super) fn named(&self, name: &str) -> &'a Value {
        self.bundle["$defs"].get(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    pub(super) fn table(&mut self, schema: &Value) -> String {
        let rows = self.rows(schema);
        let mut text = String::from("| key | type | always there | meaning |\n|---|---|---|---|\n");
        for (key, Row { kinds, always, meaning }) in rows {
            let kinds: Vec<_> = kinds.into_iter().collect();
            let always = if always { "yes" } else { "" };
            let _ = writeln!(text, "| `{key}` | {} | {always} | {meaning} |", kinds.join(" or "));
        }
        text
    }

    fn rows(&mut self, schema: &Value) -> BTreeMap<String, Row> {
        let mut rows = BTreeMap::new();
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            rows.extend(self.rows(self.named(last(name))));
        }
        let required: Vec<_> = list(schema, "required").filter_map(Value::as_str).collect();
        for (key, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let kinds = BTreeSet::from([self.kind(key, field)]);
            let always = required.contains(&&**key);
            rows.insert(key.clone(), Row { kinds, always, meaning: description(field) });
        }
        list(schema, "allOf").for_each(|it| rows.extend(self.rows(it)));
        for alternatives in ["oneOf", "anyOf"] {
            let all: Vec<_> = list(schema, alternatives).map(|it| self.rows(it)).collect();
            let everywhere = |key: &String| all.iter().all(|it| it.get(key).is_some_and(|row| row.always));
            let always: BTreeSet<_> =
                all.iter().flat_map(BTreeMap::keys).filter(|key| everywhere(key)).cloned().collect();
            for (key, row) in all.into_iter().flatten() {
                let there = rows.entry(key.clone()).or_insert(Row { kinds: BTreeSet::new(), ..row });
                there.kinds.extend(row.kinds);
                there.always = always.contains(&key);
            }
        }
        rows
    }

    fn kind(&mut self, key: &str, schema: &Value) -> String {
        if let Some(name) = schema.get("$ref").and_then(Value::as_str).map(last) {
            return self.link(name);
        }
        if let Some(value) = schema.get("const") {
            return format!("`{value}`");
        }
        let values: Vec<_> = list(schema, "enum").map(|it| format!("`{it}`")).collect();
        let any: Vec<_> = list(schema, "anyOf").chain(list(schema, "oneOf")).map(|it| self.kind(key, it)).collect();
        if !any.is_empty() || !values.is_empty() {
            return [any, values].concat().join(" or ");
        }
        let kinds = list(schema, "type").chain(schema.get("type").filter(|it| it.is_string()));
        let kinds: Vec<_> = kinds.filter_map(Value::as_str).map(|it| self.plain(key, it, schema)).collect();
        if kinds.is_empty() { "anything".to_owned() } else { kinds.join(" or ") }
    }

    fn plain(&mut self, key: &str, kind: &str, schema: &Value) -> String {
        match kind {
            "integer" | "number" => unit(key).map_or(kind.to_owned(), |unit| format!("{kind}, {unit}")),
            "string" => match schema.get("format").and_then(Value::as_str) {
                Some("uuid") => "uuid".to_owned(),
                Some("date-time") => "time".to_owned(),
                _ => "text".to_owned(),
            },
            "array" => format!("list of {}", self.kind(key, schema.get("items").unwrap_or(&Value::Bool(true)))),
            "object" if schema.get("properties").is_none() => {
                let of = schema.get("additionalProperties").unwrap_or(&Value::Bool(true));
                format!("map of {}", self.kind(key, of))
            }
            other => other.to_owned(),
        }
    }

    fn link(&mut self, name: &str) -> String {
        if name == "Time" {
            return "time".to_owned();
        }
        self.types.insert(name.to_owned());
        format!("[{name}](#{})", name.to_ascii_lowercase())
    }

    pub(super) fn types(&mut self) -> String {
        let mut sections = BTreeMap::new();
        while let Some(name) = self.types.iter().find(|name| !sections.contains_key(*name)).cloned() {
            let schema = self.named(&name);
            let mut text = format!("\n### {name}\n{}\n\n", description(schema));
            text += &self.values(schema).unwrap_or_else(|| self.table(schema));
            sections.insert(name, text);
        }
        sections.into_values().collect()
    }

    fn values(&self, schema: &Value) -> Option<String> {
        let plain = list(schema, "enum").map(|it| format!("- `{it}`\n"));
        let told: Option<Vec<_>> = list(schema, "oneOf").map(value).collect();
        let text: String = plain.chain(told?).collect();
        (!text.is_empty()).then_some(text)
    }
}

fn value(schema: &Value) -> Option<String> {
    if let Some(value) = schema.get("const") {
        return Some(format!("- `{value}`: {}\n", description(schema)));
    }
    let values: Vec<_> = list(schema, "enum").map(|it| format!("- `{it}`\n")).collect();
    (!values.is_empty()).then(|| values.concat())
}

/// The first sentence, as in the schema.
pub(super) fn description(schema: &Value) -> String {
    cell(schema.get("description").and_then(Value::as_str).unwrap_or_default())
}

pub(super) fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn list<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    schema.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn unit(key: &str) -> Option<&'static str> {
    let of = |(end, unit): &(&str, &'static str)| (key == *end || key.ends_with(&format!("_{end}"))).then_some(*unit);
    UNITS.iter().find_map(of)
}
