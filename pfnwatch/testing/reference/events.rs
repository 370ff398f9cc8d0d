//! docs/reference/events.md: every kind of event, with a real one.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::bundle::bundle;
use super::fields::{Page, description};
use crate::model::event::Body;

/// Lines that agents have printed in the guests of the end-to-end tests, one of a kind.
pub(super) fn examples() -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testing/reference/examples.jsonl");
    fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const HEAD: &str = "\
<!-- Written by `cargo xtask docs`: change the code, not this page. -->
# Events

What `pfnwatch run --format json` prints, a line of JSON for each event, and what `pfnwatch events --format json` prints out of the
event store; [log pipelines](../logs.md) shows how to collect them. `pfnwatch schema event` prints the JSON schema of a line of any kind,
`pfnwatch schema event.denied` that of one kind.

A later version may add keys, kinds and values to `\"schema\": 1`; none goes away or changes its meaning. Numbers are exact: sizes are in
bytes, and may need all of 64 bits. A key that is always there may be `null` if its type includes null: then it is not known. A key that
is not always there is absent instead. Times are RFC 3339 in UTC, with microseconds.

The examples are what agents printed in the guests of the end-to-end tests.

";

pub(super) fn page() -> String {
    let bundle = bundle();
    let mut page = Page::new(&bundle);
    let (mut text, examples) = (HEAD.to_owned(), examples());
    for &kind in Body::KINDS {
        let schema = page.named(&format!("event.{kind}"));
        let _ = writeln!(text, "- [{kind}](#{kind}): {}", description(schema));
    }
    for &kind in Body::KINDS {
        let schema = page.named(&format!("event.{kind}"));
        let _ = write!(text, "\n## {kind}\n{}\n\n{}", description(schema), page.table(schema));
        let example = examples.iter().find(|event| event["event"] == kind);
        text += &example.map_or_else(
            || "\nNone was recorded in a guest.\n".to_owned(),
            |event| format!("\n```json\n{event:#}\n```\n"),
        );
    }
    text + "\n## Types\n" + &page.types()
}
