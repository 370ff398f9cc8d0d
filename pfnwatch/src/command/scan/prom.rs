//! Metrics in Prometheus' text format, for node_exporter's textfile collector.

use std::fmt::Write as _;

use super::report::Row;
use crate::{assess::Verdict, survey::Survey};

/// A gauge with a value for each namespace of which it is known.
struct Gauge {
    name: &'static str,
    help: &'static str,
    value: fn(&Row) -> Option<u64>,
}

const GAUGES: [Gauge; 8] = [
    Gauge { name: "size_bytes", help: "Size of the namespace.", value: |row| row.size_bytes },
    Gauge { name: "usable_bytes", help: "What can be stored in the namespace.", value: |row| row.usable_bytes },
    Gauge {
        name: "reservation_bytes",
        help: "From the start of the namespace to its first usable byte.",
        value: |row| row.reservation_bytes,
    },
    Gauge {
        name: "ideal_bytes",
        help: "The reservation that the same geometry gets at the reference struct page size.",
        value: |row| row.ideal_bytes,
    },
    Gauge { name: "excess_bytes", help: "What is reserved more than the ideal.", value: |row| row.excess_bytes },
    Gauge {
        name: "unused_bytes",
        help: "What is reserved more than the running kernel's struct page needs.",
        value: |row| row.unused_bytes,
    },
    Gauge {
        name: "oversize",
        help: "1 where the excess passes both thresholds.",
        value: |row| Some(u64::from(row.verdict == Verdict::Oversize)),
    },
    Gauge {
        name: "unknown",
        help: "1 where there is no verdict.",
        value: |row| Some(u64::from(row.verdict == Verdict::Unknown)),
    },
];

pub(super) fn render(survey: &Survey) -> String {
    let rows: Vec<Row> = survey.namespaces.iter().map(Row::from).collect();
    let mut text = String::new();
    for gauge in &GAUGES {
        let name = format!("pfnwatch_namespace_{}", gauge.name);
        head(&mut text, &name, gauge.help);
        for row in &rows {
            if let Some(value) = (gauge.value)(row) {
                sample(&mut text, &name, &labels(row), value);
            }
        }
    }
    info(&mut text, &rows);
    host(&mut text, survey);
    text
}

/// What changes the identity of a time series stands here alone.
fn info(text: &mut String, rows: &[Row]) {
    let name = "pfnwatch_namespace_info";
    head(text, name, "Identity of the namespace, its verdict's cause and evidence.");
    for row in rows {
        let evidence = row.evidence.and_then(|evidence| serde_json::to_value(evidence).ok());
        let evidence = evidence.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
        let labels = [
            ("namespace", row.namespace.as_str()),
            ("region", &row.region),
            ("uuid", row.namespace_uuid.as_deref().unwrap_or_default()),
            ("block_uuid", row.block_uuid.as_deref().unwrap_or_default()),
            ("cause", row.cause.as_str()),
            ("evidence", evidence),
        ];
        sample(text, name, &labels, 1);
    }
}

fn host(text: &mut String, survey: &Survey) {
    let totals = &survey.totals;
    let oversize = u64::from(survey.verdict == Verdict::Oversize);
    for (name, help, value) in [
        ("pfnwatch_host_namespaces", "Namespaces on this host.", totals.namespaces),
        ("pfnwatch_host_excess_bytes", "Sum of the namespaces' excess.", totals.excess_bytes),
        ("pfnwatch_host_oversize", "1 where a namespace, or all of them together, are oversize.", oversize),
    ] {
        head(text, name, help);
        sample(text, name, &[], value);
    }
}

fn labels(row: &Row) -> [(&'static str, &str); 4] {
    [
        ("namespace", row.namespace.as_str()),
        ("region", row.region.as_str()),
        ("mode", row.mode),
        ("map", row.map.unwrap_or_default()),
    ]
}

fn head(text: &mut String, name: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}

fn sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
    let braces = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{name}{braces} {value}");
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
