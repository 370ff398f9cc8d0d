//! The real Prometheus and the real Alertmanager, as programs that end with the test.
#![allow(dead_code, unreachable_pub, reason = "included by several programs, each of which uses a part of it")]

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::Value;

/// In addition to the expected time: a loaded machine starts, scrapes and evaluates late.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);

pub(crate) struct Program(Child);

impl Program {
    fn start(program: &Path, arguments: &[String], log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        Self(Command::new(program).args(arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// VmHWM, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn wanted(name: &str) -> PathBuf {
    env::var_os(name)
        .unwrap_or_else(|| panic!("{name} is not set: `cargo xtask web`, `alerts` and `fleet-sim` set it"))
        .into()
}

pub(crate) fn tool(name: &str) -> PathBuf {
    wanted("PFNWATCH_PROMETHEUS").join(name)
}

/// A port that was free a moment ago.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(crate) fn text(address: SocketAddr, path: &str) -> Option<String> {
    let agent = ureq::Agent::from(ureq::Agent::config_builder().proxy(None).build());
    agent.get(format!("http://{address}{path}")).call().ok()?.body_mut().read_to_string().ok()
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Option<Value> {
    serde_json::from_str(&text(address, path)?).ok()
}

/// The value of a query with one result, as Prometheus writes it.
pub(crate) fn result(prometheus: SocketAddr, query: &str) -> Option<String> {
    let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let found = get(prometheus, &format!("/api/v1/query?query={escaped}"))?;
    found.pointer("/data/result/0/value/1")?.as_str().map(str::to_owned)
}

pub(crate) fn value(prometheus: SocketAddr, query: &str) -> Option<f64> {
    result(prometheus, query)?.parse().ok()
}

/// Waits until `ask` returns something.
pub(crate) fn wait<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {} s", limit.as_secs());
        thread::sleep(Duration::from_millis(200));
    }
}

/// With the configuration `alertmanager.yml` of this folder.
pub(crate) fn alertmanager(folder: &Path, address: SocketAddr) -> Program {
    let arguments = [
        format!("--config.file={}", folder.join("alertmanager.yml").display()),
        format!("--storage.path={}", folder.join("alerts").display()),
        format!("--web.listen-address={address}"),
        "--cluster.listen-address=".to_owned(),
    ];
    let program = Program::start(&wanted("PFNWATCH_ALERTMANAGER"), &arguments, &folder.join("alertmanager.log"));
    wait("Alertmanager", TIMEOUT, || text(address, "/-/ready"));
    program
}

pub(crate) fn prometheus(folder: &Path, config: &str, more: &[String]) -> (Program, SocketAddr) {
    let (file, address) = (folder.join("prometheus.yml"), free());
    fs::write(&file, config).unwrap();
    let mut arguments = vec![
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        format!("--web.listen-address={address}"),
        // Prometheus sends an alert's new annotations each time, and not a minute later.
        "--rules.alert.resend-delay=0s".to_owned(),
    ];
    arguments.extend_from_slice(more);
    (Program::start(&tool("prometheus"), &arguments, &folder.join("prometheus.log")), address)
}
