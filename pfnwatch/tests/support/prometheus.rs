//! The real Prometheus, and its promtool.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::Value;
use tempfile::TempDir;

use super::served::get;

const TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

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

/// A Prometheus that scrapes one address every second, with the recording rules that ship, until it is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: String,
    _folder: TempDir,
}

impl Running {
    pub(crate) fn start(prometheus: &Path, target: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let job = format!("{{job_name: pfnwatch, static_configs: [{{targets: ['{target}']}}]}}");
        let every = "{scrape_interval: 1s, evaluation_interval: 1s}";
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/prometheus/recording.rules.yml");
        let text = format!("{{global: {every}, rule_files: ['{rules}'], scrape_configs: [{job}]}}\n");
        fs::write(&config, text).unwrap();
        // Free a moment ago, and hardly taken since.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let child = Command::new(prometheus)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address, _folder: folder }
    }

    /// The value of a query with one result, once it has one.
    pub(crate) fn wait_for(&self, query: &str) -> String {
        let path = format!("/api/v1/query?query={}", escaped(query));
        let end = Instant::now() + TIMEOUT;
        while Instant::now() < end {
            if TcpStream::connect(&self.address).is_ok() {
                let said: Value = serde_json::from_str(&get(&self.address, &path)).unwrap_or_default();
                if let Some(value) = said.pointer("/data/result/0/value/1").and_then(Value::as_str) {
                    return value.to_owned();
                }
            }
            thread::sleep(POLL);
        }
        panic!("{query}: no result within {} s", TIMEOUT.as_secs());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn escaped(query: &str) -> String {
    query
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
