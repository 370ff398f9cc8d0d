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

/// Panels that lie on one another or reach out of the 24 columns; a panel's number that is there twice.
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
