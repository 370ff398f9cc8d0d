//! The rules for Prometheus that ship, and what must be true of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const RECORDING: &str = include_str!("../../dist/prometheus/recording.rules.yml");
pub(crate) const ALERTING: &str = include_str!("../../dist/prometheus/alerting.rules.yml");
pub(crate) const TESTS: [&str; 2] = [
    include_str!("../../dist/prometheus/tests/fleet.test.yml"),
    include_str!("../../dist/prometheus/tests/host.test.yml"),
];
const RUNBOOK: &str = include_str!("../../../docs/runbook.md");

/// The output of promtool for the rules and their own tests; empty if all is well.
pub(crate) fn check(promtool: &Path) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dist/prometheus");
    let rules = ["recording.rules.yml", "alerting.rules.yml"].map(|file| folder.join(file));
    let tests = ["tests/fleet.test.yml", "tests/host.test.yml"].map(|file| folder.join(file));
    [(["check", "rules"], rules), (["test", "rules"], tests)]
        .into_iter()
        .map(|(words, files)| {
            let output = Command::new(promtool).args(words).args(files).output().unwrap();
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            if output.status.success() { String::new() } else { said }
        })
        .collect()
}

pub(crate) fn metrics() -> BTreeSet<&'static str> {
    let expressions = [RECORDING, ALERTING].into_iter().flat_map(str::lines).map(str::trim);
    let expressions =
        expressions.filter(|line| !line.starts_with(['#', '-']) && !line.contains(':') || line.starts_with("expr:"));
    let word =
        |text: &'static str| text.split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':'));
    expressions.flat_map(word).filter(|word| word.starts_with("pfnwatch_")).collect()
}

pub(crate) fn alerts() -> Vec<&'static str> {
    ALERTING.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

/// What an alert lacks: a test in which it fires, one in which it does not, its section of the runbook, a link to it.
pub(crate) fn missing(alert: &str) -> Vec<String> {
    let tests = TESTS.concat();
    let link = format!("runbook.md#{}\n", alert.to_lowercase());
    let wanted = [
        ("a test in which it fires", tests.contains(&format!("- alertname: {alert}\n"))),
        ("a test in which it is silent", tests.contains(&format!("{{alertname: {alert}, eval_time: "))),
        ("a section of the runbook", RUNBOOK.contains(&format!("\n## {alert}\n"))),
        ("a link to it", ALERTING.contains(&link)),
    ];
    wanted.into_iter().filter(|(_, there)| !there).map(|(what, _)| format!("{alert} lacks {what}")).collect()
}
