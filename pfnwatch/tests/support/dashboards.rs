//! The dashboards for Grafana that ship, and what they ask Prometheus for.

use serde_json::Value;

const ALL: [(&str, &str); 2] =
    [("fleet", include_str!("../../dist/grafana/fleet.json")), ("host", include_str!("../../dist/grafana/host.json"))];

/// Each query as Grafana would send it for all clusters and for this instance, with the names of its dashboard and panel.
pub(crate) fn queries(instance: &str) -> Vec<(String, String)> {
    let panels = |text: &str| {
        let board: Value = serde_json::from_str(text).unwrap();
        board["panels"].as_array().unwrap().clone()
    };
    let mut queries = Vec::new();
    for (name, text) in ALL {
        for panel in panels(text) {
            for target in panel["targets"].as_array().unwrap() {
                let query = target["expr"].as_str().unwrap();
                let query = query.replace("$cluster", ".*").replace("$instance", instance);
                assert!(!query.contains('$'), "{name}: an unknown variable in {query}");
                queries.push((format!("{name}: {}", panel["title"].as_str().unwrap()), query));
            }
        }
    }
    queries
}

/// Panels that overlap or exceed the 24 columns; duplicate numbers of panels.
pub(crate) fn misplaced() -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, text) in ALL {
        let board: Value = serde_json::from_str(text).unwrap();
        let places: Vec<_> = board["panels"].as_array().unwrap().iter().map(place).collect();
        for (index, one) in places.iter().enumerate() {
            let clash = |other: &Place| one.id == other.id || one.meets(other);
            if one.x + one.width > 24 || places[..index].iter().any(clash) {
                wrong.push(format!("{name}: panel {}", one.id));
            }
        }
    }
    wrong
}

struct Place {
    id: u64,
    x: u64,
    y: u64,
    width: u64,
    height: u64,
}

impl Place {
    fn meets(&self, other: &Self) -> bool {
        let apart =
            |start: u64, length: u64, other: u64, others: u64| start + length <= other || other + others <= start;
        !(apart(self.x, self.width, other.x, other.width) || apart(self.y, self.height, other.y, other.height))
    }
}

fn place(panel: &Value) -> Place {
    let number = |path: &str| panel.pointer(path).and_then(Value::as_u64).unwrap();
    Place {
        id: number("/id"),
        x: number("/gridPos/x"),
        y: number("/gridPos/y"),
        width: number("/gridPos/w"),
        height: number("/gridPos/h"),
    }
}

const KINDS: [&str; 5] = ["bargauge", "stat", "state-timeline", "table", "timeseries"];
/// The keys of the published schema of a panel that these dashboards use; Grafana silently ignores any other key.
const PANEL: [&str; 10] = [
    "datasource",
    "description",
    "fieldConfig",
    "gridPos",
    "id",
    "options",
    "targets",
    "title",
    "transformations",
    "type",
];
const TARGET: [&str; 7] = ["datasource", "expr", "format", "instant", "legendFormat", "range", "refId"];

/// What Grafana would ignore or not know: keys and kinds outside its schema, a panel without a title or a unit, queries
/// with one name, undefined variables.
pub(crate) fn malformed() -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, text) in ALL {
        let board: Value = serde_json::from_str(text).unwrap();
        let variables = board["templating"]["list"].as_array().unwrap();
        let known: Vec<_> = variables.iter().map(|it| it["name"].as_str().unwrap()).collect();
        let used = text.split('$').skip(1).map(|rest| rest.trim_start_matches('{'));
        for rest in used.filter(|rest| !known.iter().any(|name| rest.starts_with(name))) {
            wrong.push(format!("{name}: the variable ${:.12}", rest));
        }
        if board["uid"].as_str().is_none_or(str::is_empty) || board["schemaVersion"].as_u64().is_none() {
            wrong.push(format!("{name}: neither uid nor schemaVersion may be missing"));
        }
        for panel in board["panels"].as_array().unwrap() {
            let place = format!("{name}: {}", panel["title"]);
            wrong.extend(strange(panel, &PANEL).map(|key| format!("{place}: the key {key}")));
            if !KINDS.contains(&panel["type"].as_str().unwrap_or_default()) || panel["title"] == "" {
                wrong.push(format!("{place}: a kind that there is not, or no title"));
            }
            if panel["type"] != "table" && panel["fieldConfig"]["defaults"]["unit"].as_str().is_none() {
                wrong.push(format!("{place}: no unit"));
            }
            let targets = panel["targets"].as_array().unwrap();
            for (index, target) in targets.iter().enumerate() {
                wrong.extend(strange(target, &TARGET).map(|key| format!("{place}: the key {key} of a question")));
                if targets[..index].iter().any(|other| other["refId"] == target["refId"]) {
                    wrong.push(format!("{place}: two questions of one name"));
                }
            }
        }
    }
    wrong
}

fn strange<'a>(object: &'a Value, known: &'a [&str]) -> impl Iterator<Item = &'a String> {
    object.as_object().unwrap().keys().filter(|key| !known.contains(&key.as_str()))
}
