//! docs/reference/alerts.md: what the agent raises by itself, and what the rules for Prometheus do.

use std::fmt::Write as _;

use yaml_rust2::{Yaml, YamlLoader};

use super::bundle::bundle;
use super::fields::{cell, description};
use crate::model::alert::AlertName;

const ALERTING: &str = include_str!("../../dist/prometheus/alerting.rules.yml");
const RECORDING: &str = include_str!("../../dist/prometheus/recording.rules.yml");

const HEAD: &str = "\
<!-- Written by `cargo xtask docs`: change the code, not this page. -->
# Alerts

One host's agent raises alerts by itself, to the receivers of its configuration; a fleet's Prometheus raises them by the rules in
`pfnwatch/dist/prometheus` (in /usr/share/doc/pfnwatch/examples/prometheus once installed). The names are the same where both can: take
one of the two for the same receiver. Each links to its section of the [runbook](../runbook.md).

## Of the agent
An alert ends when its condition does; what cannot be seen has not ended. The labels are `alertname`, `instance` and `severity`, and for
one about a namespace `namespace_uuid`, or `start_address` where the region has no labels.

";

pub(super) fn page() -> String {
    let mut text = HEAD.to_owned() + "| alert | severity | when |\n|---|---|---|\n";
    let bundle = bundle();
    let all = bundle["$defs"]["AlertName"]["oneOf"].as_array().unwrap();
    for name in AlertName::ALL {
        let told = all.iter().find(|it| it["const"] == name.as_str()).unwrap();
        let _ = writeln!(text, "| {} | {} | {} |", link(name.as_str()), name.severity().as_str(), description(told));
    }
    text += "\n## Of the rules for Prometheus\n| alert | severity | for | when | summary |\n|---|---|---|---|---|\n";
    for rule in rules(ALERTING) {
        let name = field(&rule, "alert");
        let (severity, summary) = (field(&rule["labels"], "severity"), field(&rule["annotations"], "summary"));
        let expression = cell(&field(&rule, "expr"));
        let _ = writeln!(
            text,
            "| {} | {severity} | {} | `{expression}` | {} |",
            link(&name),
            field(&rule, "for"),
            cell(&summary)
        );
    }
    text += "\n## What is recorded\nThe rules record these, for the alerts and the dashboards.\n\n| series | of |\n|---|---|\n";
    for rule in rules(RECORDING) {
        let _ = writeln!(text, "| `{}` | `{}` |", field(&rule, "record"), cell(&field(&rule, "expr")));
    }
    text
}

fn link(name: &str) -> String {
    format!("[{name}](../runbook.md#{})", name.to_ascii_lowercase())
}

fn rules(text: &str) -> Vec<Yaml> {
    let file = YamlLoader::load_from_str(text).unwrap().remove(0);
    let groups = file["groups"].as_vec().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_vec().unwrap()).cloned().collect()
}

fn field(yaml: &Yaml, key: &str) -> String {
    match &yaml[key] {
        Yaml::String(text) => text.clone(),
        Yaml::BadValue => "0s".to_owned(),
        other => panic!("{key}: {other:?}"),
    }
}
