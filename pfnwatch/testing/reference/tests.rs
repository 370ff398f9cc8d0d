//! The schemas are valid, and pfnwatch's output matches them.

use clap::CommandFactory as _;
use serde_json::{Value, json};

use super::bundle::bundle;
use super::events::examples;
use crate::cli::Cli;
use crate::model::event::{Body, Event, LostRecords, Time};
use crate::testing::schema::{check, check_event, check_in, unknown_keywords};

#[test]
fn no_two_types_share_a_name() {
    let bundle = bundle();
    // A generator numbers them, in an order that nobody controls.
    let numbered =
        bundle["$defs"].as_object().unwrap().keys().find(|name| name.ends_with(|last: char| last.is_ascii_digit()));
    assert_eq!(numbered, None, "give one of the types a name of its own: #[schemars(rename = …)]");
}

#[test]
fn what_does_not_fit_is_found() {
    let event =
        serde_json::to_value(Event::at(Time(std::time::UNIX_EPOCH), Body::Lost(LostRecords::default()))).unwrap();
    check_event(&event).unwrap();
    check("event", &event).unwrap();
    for (key, value, why) in [
        ("schema", json!(2), "is not const 1"),
        ("time", json!("today"), "is not format"),
        ("lost", json!(-1), "is not minimum 0"),
        ("lost", json!("1"), "is not format"),
        ("new", json!(1), "the key `new` is not in the schema"),
        ("event", json!("unheard"), "there is no schema event.unheard"),
        ("read_faults", Value::Null, "is not type"),
    ] {
        let mut other = event.clone();
        other[key] = value;
        let mismatch = check_event(&other).unwrap_err();
        assert!(mismatch.contains(why), "{mismatch}");
    }
    let mut short = event;
    short.as_object_mut().unwrap().remove("unpaired");
    assert!(check_event(&short).unwrap_err().contains("the key `unpaired` is missing"));
}

#[test]
fn every_keyword_of_the_schemas_is_heeded() {
    assert_eq!(unknown_keywords(&bundle()), Vec::<String>::new());
    let odd = json!({ "$defs": { "odd": { "properties": { "a": { "multipleOf": 2 } } } } });
    assert_eq!(unknown_keywords(&odd), ["multipleOf"]);
    assert!(check_in(&odd, "odd", &json!({ "a": 2 })).unwrap_err().contains("multipleOf"));
}

#[test]
fn the_examples_are_as_the_schemas_say() {
    for event in examples() {
        check_event(&event).unwrap();
    }
}

/// A new version of the maps needs new examples.
#[test]
fn the_examples_have_the_paths_of_todays_pins() {
    let text = examples().iter().map(ToString::to_string).collect::<String>();
    let versions = text.split("/sys/fs/bpf/pfnwatch/").skip(1).map(|rest| rest.split('/').next().unwrap_or_default());
    let versions: std::collections::BTreeSet<_> = versions.collect();
    assert_eq!(versions, [format!("v{}", pfnwatch_common::guard::PIN_VERSION).as_str()].into());
}

#[test]
fn every_key_of_a_report_or_event_has_a_meaning() {
    let all = bundle();
    for (name, schema) in all["$defs"].as_object().unwrap() {
        let of_control = ["Answer", "Request", "Whose", "control-reply", "control-request"].contains(&&**name);
        let keys = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        for (key, field) in keys.filter(|(key, _)| !of_control && *key != "event") {
            assert!(field.get("description").is_some(), "{name}: {key} has no doc comment");
        }
        // Variants with doc comments are schemas of their own.
        assert!(schema.get("enum").is_none(), "{name}: a variant has no doc comment");
    }
}

#[test]
fn every_argument_and_value_of_the_command_line_has_a_help_text() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{}: {argument} has no doc comment", command.get_name());
            let values = argument.get_possible_values();
            let undocumented = values.iter().find(|value| value.get_help().is_none());
            let undocumented = undocumented.filter(|_| argument.get_action().takes_values());
            assert_eq!(undocumented, None, "{}: {argument}", command.get_name());
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}
