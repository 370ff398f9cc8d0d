//! docs/reference/metrics.md: every metric, out of the module that writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::fields::cell;
use crate::export::metrics::{Described, of_scan, of_view};
use crate::testing::view::{blind, healthy, idle, oversize};

const HEAD: &str = "\
<!-- Written by `cargo xtask docs`: change the code, not this page. -->
# Metrics

What the agent serves under `/metrics` (127.0.0.1:9464 unless configured otherwise), in Prometheus' text format
(version 0.0.4). Those marked with * are in `pfnwatch scan --format prom` too, for node_exporter's textfile collector. What is not known
has no sample: a metric may be absent. Labels have few values, or one for each namespace, region, program or receiver. A metric has at
most 4,096 series: `pfnwatch_series_omitted` counts those left out.

";

pub(super) fn page() -> String {
    let mut text = HEAD.to_owned() + "| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n";
    let of_scan: BTreeSet<_> =
        of_scan(oversize().scan.as_ref().unwrap()).iter().map(|it| it.described().name).collect();
    for (name, it) in all() {
        let labels: Vec<_> = it.labels.iter().map(|label| format!("`{label}`")).collect();
        let star = if of_scan.contains(&name) { " *" } else { "" };
        let (kind, unit, help) = (it.kind, it.unit.unwrap_or_default(), cell(it.help));
        let _ = writeln!(text, "| `{name}`{star} | {kind} | {unit} | {} | {help} |", labels.join(", "));
    }
    text
}

fn all() -> BTreeMap<String, Described> {
    let mut all: BTreeMap<String, Described> = BTreeMap::new();
    for family in [healthy(), oversize(), blind(), idle()].iter().flat_map(of_view) {
        let Described { labels, is_told, .. } = family.described();
        let there = all.entry(family.described().name).or_insert_with(|| family.described());
        there.labels.extend(labels);
        there.is_told |= is_told;
    }
    all
}

#[test]
fn every_metric_is_shown_with_its_labels() {
    let untold = all().into_iter().find(|(_, it)| !it.is_told).map(|(name, _)| name);
    assert_eq!(untold, None, "no made-up agent shows it, so that its labels are not known");
}
