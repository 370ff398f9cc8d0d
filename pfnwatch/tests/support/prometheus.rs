//! The real Prometheus, and its promtool.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::stack::{self, Program};

/// The output of `promtool check metrics`; empty if all is well.
pub(crate) fn check(promtool: &Path, metrics: &str) -> String {
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { said } else { format!("{} {said}", output.status) }
}

/// A Prometheus that scrapes one address every second, with the recording rules that ship.
pub(crate) fn start(folder: &Path, target: &str) -> (Program, SocketAddr) {
    let job = format!("{{job_name: pfnwatch, static_configs: [{{targets: ['{target}']}}]}}");
    let every = "{scrape_interval: 1s, evaluation_interval: 1s}";
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/prometheus/recording.rules.yml");
    stack::prometheus(folder, &format!("{{global: {every}, rule_files: ['{rules}'], scrape_configs: [{job}]}}\n"), &[])
}
