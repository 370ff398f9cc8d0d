//! A host over three boots, with a real Alertmanager and a real Prometheus: a sound kernel, one with the regression, the sound
//! one again. Three machines, one after the other, have the same NVDIMMs and the same disk, on which the event store lies.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::agent::{Agent, has_text};
use guest::creation::{self, Mode, NamespaceSpec, PreparedNamespace};
use guest::disk::{self, Disk};
use guest::guard::{self, SOCKET};
use guest::monitoring::{Alertmanager, Prometheus};
use guest::pfnwatch::{ensure_contains, report, row, scan};
use guest::webhook::Webhook;
use guest::{GIB, MIB, events, modules, policy, regions, sysfs, wait};
use serde_json::{Value, json};

const HOST: &str = "PfnwatchCapacityRegression";
const NAMESPACE: &str = "PfnwatchNamespaceRegression";
/// An evaluation comes within seconds of an event; the first one, with two large programs, later under emulation.
const TIMEOUT: Duration = Duration::from_secs(90);

fn start() -> Result<Agent> {
    policy::write(&format!("[store]\nfile = \"{}\"\n{}", disk::STORE, Alertmanager::RECEIVER))?;
    Agent::start(&["--config", policy::PATH, "--control-socket", SOCKET])
}

fn baseline(code: i32) -> Result<Value> {
    report(code, &["baseline", "--store", disk::STORE])
}

fn one_gib(region: &str) -> Result<PreparedNamespace> {
    let region = region.to_owned();
    creation::create(&NamespaceSpec::new(&region, Mode::Fsdax, GIB))
}

fn written(kind: &str) -> Result<usize> {
    Ok(events::written(&["--store", disk::STORE, "--kind", kind])?.len())
}

#[test]
fn first_boot_is_of_a_sound_kernel() -> Result<()> {
    let region = regions::fresh()?.second;
    let _disk = Disk::mount()?;
    let mut agent = start()?;
    let made = one_gib(&region)?;
    agent.set_up(&made.namespace_uuid, "made")?;
    agent.stop_and_count()?;
    let said = baseline(0)?;
    ensure_contains(&said, &json!({ "regressions": [] }))?;
    ensure_contains(&said["kernels"][0], &json!({ "max_struct_page_size_bytes": 64, "current": true }))
}

fn alert_states(message: &Value) -> Vec<(String, String)> {
    let text = |alert: &Value, key| alert.pointer(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let alerts = message["alerts"].as_array().into_iter().flatten();
    let alerts = alerts.map(|alert| (text(alert, "/status"), text(alert, "/labels/alertname")));
    alerts.filter(|(_, name)| name.ends_with("Regression")).collect()
}

/// Waits for these notifications, in any order, and for no other about regressions.
fn people_are_told(people: &Webhook, agent: &mut Agent, state: &str, names: &[&str]) -> Result<()> {
    let mut all = Vec::new();
    while all.len() < names.len() {
        all.extend(alert_states(&people.next(TIMEOUT).with_context(|| format!("after {all:?}{}", agent.output()))?));
    }
    all.sort();
    let expected: Vec<_> = names.iter().map(|name| (state.to_owned(), (*name).to_owned())).collect();
    ensure!(all == expected, "{all:?}{}", agent.output());
    Ok(())
}

fn active(alertmanager: &Alertmanager) -> Result<Vec<Value>> {
    let ours = |alert: &Value| [HOST, NAMESPACE].iter().any(|name| has_text(&alert["labels"], "alertname", name));
    let mut ours: Vec<_> = alertmanager.active()?.into_iter().filter(ours).collect();
    ours.sort_by_key(|alert| alert["labels"].to_string());
    Ok(ours)
}

/// The same alerts, by their identity.
fn are_the_same(before: &[Value], after: &[Value]) -> bool {
    let same = |(one, other): (&Value, &Value)| {
        ["fingerprint", "startsAt", "labels"].iter().all(|key| one[*key] == other[*key])
    };
    before.len() == after.len() && before.iter().zip(after).all(same)
}

#[test]
fn second_boot_with_the_regression_is_alerted_once() -> Result<()> {
    let region = regions::fresh()?.second;
    let _disk = Disk::mount()?;
    let people = Webhook::refusing_first(0)?;
    let alertmanager = Alertmanager::start(people.address)?;
    let mut agent = start()?;
    let made = one_gib(&region)?;
    people_are_told(&people, &mut agent, "firing", &[HOST, NAMESPACE])?;
    let before = active(&alertmanager)?;
    ensure!(before.len() == 2, "{:#?}", alertmanager.active()?);
    let standing = baseline(3)?;
    ensure_contains(&standing["regressions"][0], &json!({ "subject": "host", "lost_bytes": 16 * GIB }))?;
    ensure_contains(&standing["regressions"][1], &json!({ "subject": "namespace", "lost_bytes": 16 * MIB }))?;

    // Another agent sends the alert again, and Alertmanager treats it as the same.
    agent.kill()?;
    let mut agent = start()?;
    scraped(&made.namespace)?;
    let heard = || {
        let after = active(&alertmanager).ok()?;
        let is_later = |(one, other): (&Value, &Value)| one["updatedAt"] != other["updatedAt"];
        before.iter().zip(&after).all(is_later).then_some(after)
    };
    let after =
        wait::until("the second agent's word to Alertmanager", TIMEOUT, heard).with_context(|| agent.output())?;
    ensure!(are_the_same(&before, &after), "{before:?}: {after:?}");
    let again: Vec<_> = people.waiting().iter().flat_map(alert_states).collect();
    ensure!(again.is_empty(), "people were notified again: {again:?}");
    let arguments = ["baseline", "accept", "--namespace", &made.namespace_uuid, "--reason", "ticket 7"];
    guard::succeed(&arguments)?;
    people_are_told(&people, &mut agent, "resolved", &[NAMESPACE])?;
    agent.stop_and_count()?;
    alertmanager.stop()?;
    ensure!(written("capacity_regression")? == 2, "the event store has it more than once");
    Ok(())
}

/// Prometheus sees the agent, and has the same bytes as a scan.
fn scraped(namespace: &str) -> Result<()> {
    let prometheus = Prometheus::start()?;
    let up = || prometheus.value("up{job=\"pfnwatch\"}").ok().flatten().filter(|value| value == "1");
    wait::until("an agent that is up", TIMEOUT, up)?;
    let query = format!("pfnwatch_namespace_excess_bytes{{namespace=\"{namespace}\"}}");
    let excess = wait::until(&query, TIMEOUT, || prometheus.value(&query).ok().flatten())?;
    let scan = scan(3)?;
    let scanned = row(&scan, namespace)?["excess_bytes"].as_u64().context("a row without its excess")?;
    ensure!(excess == scanned.to_string(), "{excess}: {scan:#}");
    Ok(())
}

#[test]
fn third_boot_of_the_sound_kernel_resolves() -> Result<()> {
    let _disk = Disk::mount()?;
    let people = Webhook::refusing_first(0)?;
    let alertmanager = Alertmanager::start(people.address)?;
    // As at a boot: the agent is there before the drivers.
    let mut agent = start()?;
    ensure!(written("capacity_regression_ended")? == 0, "nothing is known of this boot yet{}", agent.output());
    modules::load_stack()?;
    people_are_told(&people, &mut agent, "resolved", &[HOST])?;
    let left = active(&alertmanager)?;
    ensure!(!left.iter().any(|alert| has_text(&alert["labels"], "alertname", HOST)), "{left:#?}");
    agent.stop_and_count()?;
    alertmanager.stop()?;
    ensure_contains(&baseline(0)?, &json!({ "regressions": [] }))?;
    ensure!(written("capacity_regression")? == 2 && written("capacity_regression_ended")? == 1, "not once each");
    // As it was, for the tests after this one.
    modules::unload_stack()?;
    ensure!(sysfs::devices("region").is_empty(), "regions are left");
    fs::remove_file(disk::STORE).context("the event store")
}
