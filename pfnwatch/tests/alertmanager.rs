//! Alerts against a real Alertmanager, which `cargo xtask alerts` fetches: sent once, resolved, over an outage and a
//! restart.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "clippy knows tests by #[test] alone, and not what they call"
)]

#[path = "support/stack.rs"]
mod stack;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver as Channel};
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use pfnwatch::agent::alert_store::{remember, restore};
use pfnwatch::config::Config;
use pfnwatch::export::alerts::{Dispatcher, Findings, FiringAlerts, post};
use pfnwatch::model::alert::{Alert, AlertName, Receiver};
use pfnwatch::model::store::Settings;
use pfnwatch::os::clock;
use pfnwatch::store::EventStore;
use serde_json::Value;
use tempfile::TempDir;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Alertmanager's configuration: it notifies the test at once, and again only after an hour.
const CONFIGURATION: &str = "
route: { receiver: test, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }
receivers: [ { name: test, webhook_configs: [ { url: 'http://HOOK/', send_resolved: true } ] } ]
";

fn alerts(alertmanager: SocketAddr) -> Vec<Value> {
    serde_json::from_value(stack::get(alertmanager, "/api/v2/alerts").expect("an answer")).expect("a list")
}

fn people() -> (SocketAddr, Channel<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, sent) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = Vec::new();
            let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
            let _ = stream.read_to_end(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let text = String::from_utf8_lossy(&request).into_owned();
            let body: Value =
                serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap_or_default()).unwrap_or_default();
            for alert in body["alerts"].as_array().into_iter().flatten() {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let _ = sender.send((text(&alert["status"]), text(&alert["labels"]["alertname"])));
            }
        }
    });
    (address, sent)
}

struct Agent {
    firing: FiringAlerts,
    dispatcher: Dispatcher,
    store: EventStore,
}

impl Agent {
    fn start(folder: &Path, receivers: &[Receiver]) -> Self {
        let file = Some(folder.join("pfnwatch.db"));
        let mut store = EventStore::open(Settings { file, ..Settings::default() }, pfnwatch::export::line::of);
        let (mut firing, mut dispatcher) = (FiringAlerts::default(), Dispatcher::default());
        assert!(
            restore(&mut store, &mut firing, &mut dispatcher, clock::since_boot().unwrap()),
            "{:?}",
            store.health()
        );
        dispatcher.set_receivers(receivers.to_vec(), clock::since_boot().unwrap(), &mut store);
        Self { firing, dispatcher, store }
    }

    /// Evaluates once, and tries each due message once. Returns the number of requests and of failures.
    fn look(&mut self, found: &[Alert]) -> (usize, usize) {
        let mut findings = Findings::default();
        findings.firing = found.to_vec();
        for change in self.firing.follow(&findings, &self.dispatcher.names(), SystemTime::now()) {
            self.dispatcher.enqueue(&change, clock::since_boot().unwrap(), &mut self.store);
            remember(&mut self.store, &change);
        }
        let mut jobs = self.dispatcher.jobs(clock::since_boot().unwrap(), SystemTime::now());
        jobs.extend(self.dispatcher.resend_firing(&self.firing, clock::since_boot().unwrap(), SystemTime::now()));
        let (made, mut failed) = (jobs.len(), 0);
        for job in jobs {
            let outcome = post(&job.receiver, &job.payload);
            failed += usize::from(!outcome.is_delivered());
            let at = (clock::since_boot().unwrap(), SystemTime::now());
            self.dispatcher.on_outcome(&job.delivery, &outcome, at, 0, &mut self.store);
        }
        (made, failed)
    }
}

fn setting() -> (TempDir, SocketAddr, Vec<Receiver>, Channel<(String, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let (hook, sent) = people();
    fs::write(folder.path().join("alertmanager.yml"), CONFIGURATION.replace("HOOK", &hook.to_string())).unwrap();
    let address = stack::free();
    let config = format!("[[alerts.receivers]]\nname = \"am\"\ntype = \"alertmanager\"\nurl = \"http://{address}\"\n");
    fs::write(folder.path().join("pfnwatch.toml"), &config).unwrap();
    (folder, address, Config::parse(&config).unwrap().alerts().receivers, sent)
}

fn regression() -> Alert {
    let (summary, description) = ("a namespace of 1 TiB loses 16 GiB".to_owned(), "17179869184 bytes".to_owned());
    Alert::new(AlertName::CapacityRegression, "host1", None).with_annotations(
        summary,
        description,
        "file:///runbook".to_owned(),
    )
}

#[test]
#[ignore = "needs Alertmanager: cargo xtask alerts"]
fn told_once_and_resolved_after_a_restart() {
    let (folder, address, receivers, sent) = setting();
    let _program = stack::alertmanager(folder.path(), address);
    let mut agent = Agent::start(folder.path(), &receivers);
    assert_eq!(agent.look(&[regression()]), (1, 0));
    let shown = alerts(address);
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["fingerprint"], regression().fingerprint());
    assert_eq!(shown[0]["annotations"]["description"], "17179869184 bytes");
    assert_eq!(shown[0]["labels"]["alertname"], "PfnwatchCapacityRegression");
    // Sent again, which changes nothing for the receiver.
    assert_eq!(agent.look(&[regression()]), (1, 0));
    drop(agent);
    let mut agent = Agent::start(folder.path(), &receivers);
    assert_eq!(agent.look(&[regression()]), (1, 0));
    assert_eq!(agent.look(&[regression()]), (0, 0), "not every time");
    let firing = ("firing".to_owned(), "PfnwatchCapacityRegression".to_owned());
    assert_eq!(sent.recv_timeout(TIMEOUT).unwrap(), firing);
    thread::sleep(Duration::from_millis(1500));
    assert!(sent.try_recv().is_err(), "sent twice");
    drop(agent);
    // The next boot: the regression is gone.
    let mut agent = Agent::start(folder.path(), &receivers);
    assert_eq!(agent.look(&[]), (1, 0));
    assert_eq!(sent.recv_timeout(TIMEOUT).unwrap().0, "resolved");
    assert!(alerts(address).is_empty(), "{:?}", alerts(address));
}

#[test]
#[ignore = "needs Alertmanager: cargo xtask alerts"]
fn what_began_during_an_outage_arrives_after_it() {
    let (folder, address, receivers, sent) = setting();
    let mut agent = Agent::start(folder.path(), &receivers);
    assert_eq!(agent.look(&[regression()]), (1, 1));
    assert_eq!(agent.look(&[regression()]).0, 0, "it waits: no second message is queued");
    assert_eq!(agent.dispatcher.deliveries()[0].pending, 1);
    drop(agent);
    let _program = stack::alertmanager(folder.path(), address);
    let mut agent = Agent::start(folder.path(), &receivers);
    assert_eq!(agent.look(&[regression()]), (1, 0));
    assert_eq!((alerts(address).len(), agent.dispatcher.deliveries()[0].pending), (1, 0));
    assert_eq!(sent.recv_timeout(TIMEOUT).unwrap().0, "firing");
}

#[test]
#[ignore = "needs Alertmanager: cargo xtask alerts"]
fn a_test_is_sent_without_an_agent() {
    let (folder, address, _, sent) = setting();
    let config = folder.path().join("pfnwatch.toml");
    let test = |receiver: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pfnwatch"));
        command.args(["alerts", "test", receiver, "--config"]).arg(&config).output().unwrap()
    };
    assert_eq!((test("am").status.code(), test("nobody").status.code()), (Some(1), Some(2)));
    let _program = stack::alertmanager(folder.path(), address);
    let said = test("am");
    assert_eq!((said.status.code(), &*said.stdout), (Some(0), b"am has it\n".as_slice()), "{said:?}");
    assert_eq!(alerts(address)[0]["labels"]["alertname"], "PfnwatchTest");
    assert_eq!(sent.recv_timeout(TIMEOUT).unwrap().0, "firing");
}
