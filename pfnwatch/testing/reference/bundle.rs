//! All schemas in one document: each by its name under `$defs`, the types that they share by theirs.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema as _, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::cli::command::report_schemas::{PublishedSchema, REPORTS};
use crate::export::alerts::ForWebhook;
use crate::model::control::{ErrorResponse, Request, Response};
use crate::model::event::{Body, Event, SCHEMA};

const DEFS: &str = "$defs";

/// Published besides reports and events.
const MORE: [PublishedSchema; 3] = [
    PublishedSchema { name: "control-reply", by: "the agent, on its control socket", schema: reply },
    PublishedSchema { name: "control-request", by: "the commands, on the control socket", schema: request },
    PublishedSchema {
        name: "webhook",
        by: "the agent, to a receiver of the type webhook",
        schema: ForWebhook::json_schema,
    },
];

pub(super) fn written() -> impl Iterator<Item = &'static PublishedSchema> {
    REPORTS.iter().chain(&MORE)
}

pub(super) fn bundle() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|it| it.inline_subschemas = false);
    let mut generator = settings.into_generator();
    let mut named: Vec<(String, Value)> = written()
        .map(|it| (it.name.to_owned(), titled(&(it.schema)(&mut generator), &format!("What `{}` writes", it.by))))
        .collect();
    let of_any = Event::json_schema(&mut generator).to_value();
    named.extend(Body::KINDS.iter().map(|kind| (format!("event.{kind}"), of_kind(&of_any, kind))));
    let refs: Vec<_> = Body::KINDS.iter().map(|kind| json!({ "$ref": format!("#/{DEFS}/event.{kind}") })).collect();
    let any = json!({ "title": "A line of `pfnwatch run --format json`: an event of any kind", "oneOf": refs });
    named.push(("event".to_owned(), any));
    let mut defs = generator.take_definitions(true);
    for (name, schema) in named {
        assert!(defs.insert(name.clone(), schema).is_none(), "two schemas are called {name}");
    }
    let mut all = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Written by `cargo xtask docs --reference --update`. With the same `schema`, keys, kinds of events and values of an enumeration may be \
                     added; none goes away or changes its meaning.",
        DEFS: defs,
    });
    plain(&mut all);
    all
}

pub(super) fn text() -> String {
    serde_json::to_string_pretty(&bundle()).unwrap() + "\n"
}

/// The document's description precedes that of its type.
fn titled(schema: &Schema, title: &str) -> Value {
    let mut schema = schema.clone().to_value();
    let fields = schema.as_object_mut().unwrap();
    fields.remove("$schema");
    fields.insert("title".to_owned(), json!(title));
    schema
}

/// The schema of one kind of event: the common keys, and those of the kind.
fn of_kind(any: &Value, kind: &str) -> Value {
    let mut schema = any.as_object().unwrap().clone();
    let variants = schema.remove("oneOf").unwrap();
    let is = |it: &&Value| it.pointer("/properties/event/const").is_some_and(|it| it == kind);
    let variant = variants.as_array().unwrap().iter().find(is).unwrap_or_else(|| panic!("no schema of {kind}"));
    for (key, more) in variant.as_object().unwrap() {
        match (schema.get_mut(key), more) {
            (Some(Value::Object(here)), Value::Object(more)) => here.extend(more.clone()),
            (Some(Value::Array(here)), Value::Array(more)) => here.extend(more.clone()),
            _ => drop(schema.insert(key.clone(), more.clone())),
        }
    }
    schema["properties"]["event"]["description"] = json!("Its kind.");
    schema.insert("title".to_owned(), json!(format!("The event `{kind}`")));
    Value::Object(schema)
}

/// For readers of JSON: no links of rustdoc, and the current version.
fn plain(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // What serde takes for a key that is missing, which is none of a reader's business.
            if !fields.contains_key("properties") && fields.contains_key("type") {
                fields.remove("default");
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`").replace('\n', " ");
            }
            if let Some(Value::Object(properties)) = fields.get_mut("properties")
                && let Some(schema @ Value::Object(_)) = properties.get_mut("schema")
                && schema.get("format").is_some()
            {
                *schema = json!({ "const": SCHEMA, "description": "The version of this document." });
            }
            // More keys may come.
            if fields.get("additionalProperties") == Some(&Value::Bool(false)) {
                fields.remove("additionalProperties");
            }
            fields.values_mut().for_each(plain);
        }
        Value::Array(list) => list.iter_mut().for_each(plain),
        _ => {}
    }
}

fn request(generator: &mut SchemaGenerator) -> Schema {
    let request = generator.subschema_for::<Request>();
    json_schema!({
        "type": "object",
        "description": "A line that asks the agent for something.",
        "properties": { "schema": { "const": SCHEMA }, "request": request },
        "required": ["schema", "request"],
    })
}

fn reply(generator: &mut SchemaGenerator) -> Schema {
    let (answer, refusal) = (generator.subschema_for::<Response>(), generator.subschema_for::<ErrorResponse>());
    json_schema!({
        "type": "object",
        "description": "The line that the agent answers: one of the two.",
        "properties": { "schema": { "const": SCHEMA }, "answer": answer, "refusal": refusal },
        "required": ["schema"],
        "oneOf": [{ "required": ["answer"] }, { "required": ["refusal"] }],
    })
}
