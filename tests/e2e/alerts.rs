//! Alerts of the whole agent: sent once, over a refusal and a kill, and resolved. `pfnwatch/tests/alertmanager.rs`
//! tests a real Alertmanager on the host.

use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use guest::agent::{Agent, has_text};
use guest::guard::SOCKET;
use guest::pfnwatch::{report, row};
use guest::webhook::Webhook;
use guest::{ndctl, policy, regions, sysfs};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A retry comes within 5 seconds, an evaluation at the latest 10 seconds after an event.
const TIMEOUT: Duration = Duration::from_secs(40);

const STORE: &str = "/run/alerts/pfnwatch.db";

/// A configuration with which a sound kernel's 512 MiB are oversize, or not.
fn configuration(hook: &Webhook, reference_struct_page: u64) -> String {
    format!(
        "[thresholds]\nreference_struct_page_bytes = {reference_struct_page}\n\
         [store]\nfile = \"{STORE}\"\n\
         [[alerts.receivers]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"http://{}/\"\n",
        hook.address
    )
}

fn start() -> Result<Agent> {
    Agent::start(&["--config", policy::PATH, "--control-socket", SOCKET])
}

fn standing() -> Result<Vec<Value>> {
    let list = report(3, &["alerts", "list", "--control-socket", SOCKET])?;
    Ok(list.get("firing").and_then(Value::as_array).cloned().unwrap_or_default())
}

#[test]
fn told_once_over_a_refusal_and_a_kill_and_resolved() -> Result<()> {
    let regions = regions::fresh()?;
    let made = ndctl::create(&regions.first, &["-m", "fsdax", "-M", "dev", "-a", "2M", "-s", "512M"])?;
    let namespace = ndctl::text(&made, "dev")?;
    // ndctl prints the block uuid: alerts use the namespace uuid.
    let uuid = sysfs::text(namespace, "uuid")?;
    let _ = fs::remove_dir_all("/run/alerts");
    let hook = Webhook::refusing_first(1)?;
    policy::write(&configuration(&hook, 32))?;
    let mut agent = start()?;
    let begun = hook.next(TIMEOUT).with_context(|| agent.output())?;
    ensure!(has_text(&begun, "status", "firing") && has_text(&begun["labels"], "namespace_uuid", &uuid), "{begun:#}");
    ensure!(has_text(&begun["labels"], "alertname", "PfnwatchNamespaceOversize"), "{begun:#}");
    let scanned = report(3, &["scan", "--config", policy::PATH])?;
    let excess = row(&scanned, namespace)?["excess_bytes"].as_u64().context("no excess")?;
    let description = begun["annotations"]["description"].as_str().unwrap_or_default().to_owned();
    ensure!(description.contains(&format!("({excess} bytes) are lost")), "{excess}: {description}");

    agent.kill()?;
    let mut agent = start()?;
    let stands = standing()?;
    ensure!(stands.len() == 1 && stands[0]["fingerprint"] == begun["fingerprint"], "{stands:#?}");
    // The second agent has looked by itself as well.
    thread::sleep(Duration::from_secs(3));
    ensure!(hook.waiting().is_empty(), "a firing alert was sent again");

    policy::write(&configuration(&hook, 64))?;
    let start = Instant::now();
    agent.signal(Signal::SIGHUP)?;
    let ended = hook.next(TIMEOUT).with_context(|| agent.output())?;
    eprintln!("resolved after {:?}", start.elapsed());
    ensure!(has_text(&ended, "status", "resolved") && ended["fingerprint"] == begun["fingerprint"], "{ended:#}");
    ensure!(ended["starts_at"] == begun["starts_at"] && ended["ends_at"].is_string(), "{ended:#}");
    agent.stop_and_count().map(drop)
}
