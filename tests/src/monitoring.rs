//! The real Prometheus and the real Alertmanager, in a guest that has the disk with them.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{disk, wait, web};

/// Programs of 30 and 100 MB start slowly under emulation.
const START_TIMEOUT: Duration = Duration::from_secs(90);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const ALERTMANAGER: &str = "127.0.0.1:9093";
const PROMETHEUS: &str = "127.0.0.1:9090";

/// A running server. Killed when dropped.
struct Server {
    child: Child,
    address: &'static str,
    log: &'static str,
}

impl Server {
    fn start(program: &str, arguments: &[&str], address: &'static str, log: &'static str) -> Result<Self> {
        let output = fs::File::create(log).with_context(|| format!("cannot create {log}"))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let server = Self { child, address, log };
        let ready = || server.get("/-/ready").ok().map(drop);
        wait::until(&format!("{program} ready"), START_TIMEOUT, ready).with_context(|| server.output())?;
        Ok(server)
    }

    fn get(&self, path: &str) -> Result<String> {
        let reply = web::ask(self.address, path)?;
        ensure!(reply.status == 200, "{path}: {reply:?}");
        Ok(reply.body)
    }

    fn json(&self, path: &str) -> Result<Value> {
        let text = self.get(path).with_context(|| self.output())?;
        serde_json::from_str(&text).with_context(|| format!("{path}: no JSON: {text}"))
    }

    fn output(&self) -> String {
        fs::read_to_string(self.log).unwrap_or_default()
    }

    /// Ends it by SIGTERM, so that it saves its state.
    fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("a pid out of range")?;
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        wait::exit_of(self.address, &mut self.child, STOP_TIMEOUT).map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Alertmanager(Server);

impl Alertmanager {
    pub const RECEIVER: &str =
        "[[alerts.receivers]]\nname = \"alertmanager\"\ntype = \"alertmanager\"\nurl = \"http://127.0.0.1:9093/\"\n";

    /// Starts it. It notifies `people` of each alert once, at once.
    pub fn start(people: SocketAddr) -> Result<Self> {
        const FILE: &str = "/run/alertmanager.yml";
        let configuration = format!(
            "route: {{ receiver: people, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 12h }}\n\
             receivers: [ {{ name: people, webhook_configs: [ {{ url: 'http://{people}/', send_resolved: true }} ] }} ]\n"
        );
        fs::write(FILE, configuration).with_context(|| format!("cannot write {FILE}"))?;
        let arguments = [
            &format!("--config.file={FILE}"),
            &format!("--storage.path={}/alertmanager", disk::PLACE),
            &format!("--web.listen-address={ALERTMANAGER}"),
            "--cluster.listen-address=",
        ];
        Server::start(disk::ALERTMANAGER, &arguments, ALERTMANAGER, "/run/alertmanager.log").map(Self)
    }

    pub fn active(&self) -> Result<Vec<Value>> {
        let alerts = self.0.json("/api/v2/alerts?active=true")?;
        alerts.as_array().cloned().with_context(|| format!("no list: {alerts}"))
    }

    /// Ends it: its notifications are then saved on the disk.
    pub fn stop(self) -> Result<()> {
        self.0.stop()
    }
}

/// A running Prometheus, which scrapes the agent every second.
pub struct Prometheus(Server);

impl Prometheus {
    pub fn start() -> Result<Self> {
        const FILE: &str = "/run/prometheus.yml";
        let job = format!("{{ job_name: pfnwatch, static_configs: [ {{ targets: ['{}'] }} ] }}", web::ADDRESS);
        let configuration = format!("global: {{ scrape_interval: 1s }}\nscrape_configs: [ {job} ]\n");
        fs::write(FILE, configuration).with_context(|| format!("cannot write {FILE}"))?;
        let arguments = [
            &format!("--config.file={FILE}"),
            "--storage.tsdb.path=/run/prometheus",
            &format!("--web.listen-address={PROMETHEUS}"),
        ];
        Server::start(disk::PROMETHEUS, &arguments, PROMETHEUS, "/run/prometheus.log").map(Self)
    }

    /// The value of a query that has one result; `None` if it has none or several.
    pub fn value(&self, query: &str) -> Result<Option<String>> {
        let said = self.0.json(&format!("/api/v1/query?query={}", escaped(query)))?;
        let results = said.pointer("/data/result").and_then(Value::as_array);
        let results = results.with_context(|| format!("{query}: {said}"))?;
        Ok(match results.as_slice() {
            [result] => result.pointer("/value/1").and_then(Value::as_str).map(str::to_owned),
            _ => None,
        })
    }
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
