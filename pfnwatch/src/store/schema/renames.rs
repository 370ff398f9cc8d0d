//! Schema 3 gives other names to keys and values of stored JSON. Numbers do not change. Texts for people (the column `line`, and
//! the keys `detail` and `meaning`) stay as they were written.

use rusqlite::types::Value as SqlValue;
use rusqlite::{Transaction, params};
use serde_json::{Map, Value};

/// So many documents are in memory at a time.
const BATCH: usize = 256;

/// A change to a JSON document. Places are JSON pointers (RFC 6901).
#[derive(Clone, Copy, Debug)]
enum Rename {
    /// A key of an object gets another name, and its value stays.
    Key { object: &'static str, from: &'static str, to: &'static str },
    /// A text is replaced by another.
    Text { at: &'static str, from: &'static str, to: &'static str },
    /// Keys go, or get what follows from others. Returns whether that was so.
    Other(fn(&mut Map<String, Value>) -> bool),
}

/// What changes in documents, by their kind.
type Renames = &'static [(&'static [&'static str], &'static [Rename])];

/// A column with JSON documents.
struct Column {
    table: &'static str,
    json: &'static str,
    /// The primary key, and a value below all of its values.
    key: (&'static str, SqlValue),
    /// The kind of a document, as an SQL expression.
    kind: &'static str,
    renames: Renames,
}

const COLUMNS: [Column; 3] = [
    Column { table: "events", json: "json", key: ("id", SqlValue::Integer(0)), kind: "kind", renames: EVENTS },
    Column {
        table: "alerts",
        json: "json",
        key: ("fingerprint", SqlValue::Text(String::new())),
        kind: "'alert'",
        renames: ALERTS,
    },
    Column {
        table: "deliveries",
        json: "payload",
        key: ("id", SqlValue::Integer(0)),
        kind: "'message'",
        renames: DELIVERIES,
    },
];

/// The kinds of events with the guard's decision.
const DECISIONS: &[&str] = &["denied", "would_deny", "exempt", "unjudged"];

/// What changes in events, by their kind in schema 3.
const EVENTS: Renames = &[
    (&["existing_namespace"], &[text("/event", "found", "existing_namespace")]),
    (&["decode_error"], &[text("/event", "undecoded", "decode_error")]),
    (
        &["set_up"],
        &[
            text("/block", "met", "existing"),
            key("/guard", "judged", "decision"),
            key("/guard", "surprise", "mismatch"),
        ],
    ),
    (
        DECISIONS,
        &[
            text("/replaced/origin", "met", "accepted"),
            key("/replaced", "put_back", "restore_commands"),
            key("/replaced", "still_there", "still_on_media"),
        ],
    ),
    (&["unjudged", "guard_state"], &[key("", "why", "reason")]),
    (&["guard_state"], &[Rename::Other(complete_guard_state)]),
    (&["policy_loaded"], &[Rename::Other(|event| event.remove("by").is_some())]),
    (&["guard_taken_over", "guard_released"], &[Rename::Other(add_detail)]),
    (&["stopped"], &[key("", "undecoded", "decode_errors")]),
];

// words: allow (the old name of the key)
const ALERTS: Renames = &[(&["alert"], &[key("", "told", "sent_to"), ALERT_NAME])];
const DELIVERIES: Renames = &[(&["message"], &[ALERT_NAME])];

/// The label `alertname` stays, and with it the alert's fingerprint: receivers know the alert by them. So it ends there under
/// its old name, and fires again under its new one.
const ALERT_NAME: Rename = text("/alert/name", "PfnwatchJournalFailing", "PfnwatchStoreFailing");

/// Enforcement was then called effective if the guard was seen to run.
fn complete_guard_state(event: &mut Map<String, Value>) -> bool {
    let is = |key: &str| event.get(key).and_then(Value::as_bool).unwrap_or_default();
    let judges = is("attached") && is("armed") && is("enforcement_effective");
    let pinned = event.get("pins").and_then(Value::as_array).is_some_and(|pins| !pins.is_empty());
    let mode = event.get("mode").cloned().unwrap_or_default();
    let is_effective = judges && mode == "enforce";
    for (key, value) in [
        ("judges", judges.into()),
        ("pinned", pinned.into()),
        ("configured_mode", mode),
        ("enforcement_effective", is_effective.into()),
    ] {
        event.insert(key.to_owned(), value);
    }
    true
}

fn add_detail(event: &mut Map<String, Value>) -> bool {
    let is_missing = event.get("detail").is_none_or(Value::is_null);
    if is_missing {
        event.insert("detail".to_owned(), "".into());
    }
    is_missing
}

const fn key(object: &'static str, from: &'static str, to: &'static str) -> Rename {
    Rename::Key { object, from, to }
}

const fn text(at: &'static str, from: &'static str, to: &'static str) -> Rename {
    Rename::Text { at, from, to }
}

/// Changes all documents of the file.
pub(super) fn apply(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    COLUMNS.into_iter().try_for_each(|column| column.apply(transaction))
}

impl Column {
    /// Goes through the table in batches, so that a large file does not need much memory.
    fn apply(self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let Self { table, json, key: (key, mut last), kind, renames } = self;
        let mut select = transaction.prepare(&format!(
            "SELECT {key}, {kind}, {json} FROM {table} WHERE {key} > ?1 ORDER BY {key} LIMIT {BATCH}"
        ))?;
        let mut update = transaction.prepare(&format!("UPDATE {table} SET {json} = ?2 WHERE {key} = ?1"))?;
        loop {
            let rows = select.query_map([&last], |row| {
                Ok((row.get::<_, SqlValue>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })?;
            let batch: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
            let Some((end, ..)) = batch.last() else { return Ok(()) };
            last = end.clone();
            for (key, kind, json) in batch {
                if let Some(changed) = changed(renames, &kind, &json) {
                    update.execute(params![key, changed])?;
                }
            }
        }
    }
}

/// The document with its new names. `None` if it does not change, or is no JSON because another program wrote to the file.
fn changed(renames: Renames, kind: &str, json: &str) -> Option<String> {
    let mut renames =
        renames.iter().filter(|(kinds, _)| kinds.contains(&kind)).flat_map(|(_, renames)| *renames).peekable();
    renames.peek()?;
    let mut document = serde_json::from_str(json).ok()?;
    let changes = renames.filter(|rename| rename.apply(&mut document)).count();
    (changes > 0).then(|| document.to_string())
}

impl Rename {
    /// Returns whether the document had the old name.
    fn apply(self, document: &mut Value) -> bool {
        match self {
            Self::Key { object, from, to } => {
                let object = document.pointer_mut(object).and_then(Value::as_object_mut);
                let renamed = object.and_then(|object| Some((object.remove(from)?, object)));
                renamed.map(|(value, object)| object.insert(to.to_owned(), value)).is_some()
            }
            Self::Text { at, from, to } => {
                let text = document.pointer_mut(at).filter(|text| **text == from);
                text.map(|text| *text = to.into()).is_some()
            }
            Self::Other(change) => document.as_object_mut().is_some_and(change),
        }
    }
}
