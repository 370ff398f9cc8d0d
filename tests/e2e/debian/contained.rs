//! The container of the DaemonSet, run by a real runtime with what the manifest gives it, and with nothing more.

use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use guest::agent::has_text;
use guest::container::Container;
use guest::{creation, debian, pfnwatch, wait, web};
use nix::sched::{CloneFlags, setns};
use nix::unistd::Pid;
use serde_json::json;

use super::oversize;
use crate::privileges::watches_with_little;

const TIMEOUT: Duration = Duration::from_secs(60);
const FOLDER: &str = "/run/bundles";

#[test]
fn daemon_set_sees_what_the_host_makes_and_keeps_little_privilege() -> Result<()> {
    let region = debian::fresh()?;
    let mut container = Container::start(Path::new(FOLDER))?;
    let observes = |event: &serde_json::Value| {
        (has_text(event, "event", "ready") && has_text(event, "state", "observing")).then_some(())
    };
    container.agent.event("that it observes", TIMEOUT, observes)?;

    let made = creation::create(&oversize(&region))?;
    let event = container.agent.set_up(&made.namespace_uuid, "made")?;
    let expected = json!({ "verdict": "oversize", "cause": "regressed_kernel", "excess_bytes": 16 << 20 });
    pfnwatch::ensure_contains(&event, &expected)?;
    ensure!(event["id"].is_u64(), "it is not in the event store: {event}{}", container.agent.output());
    // The guard's self-test raises its capabilities for a moment.
    let little = || watches_with_little(container.pid);
    wait::until("little privilege", TIMEOUT, || little().ok()).or_else(|_| little())?;
    // What the node's probe asks, in the pod's own network.
    wait::until("that it is ready", TIMEOUT, || readyz(container.pid).ok().filter(|status| *status == 200))
        .with_context(|| container.agent.output())?;

    let last = container.stop()?;
    ensure!(has_text(&last, "event", "stopped"), "{last}{}", container.agent.output());
    Ok(())
}

/// A thread enters the network namespace of a process, and ends.
fn readyz(pid: Pid) -> Result<u16> {
    let network = File::open(format!("/proc/{pid}/ns/net")).context("no network")?;
    let ask = move || {
        setns(network, CloneFlags::CLONE_NEWNET).context("cannot enter the network")?;
        web::get("/readyz").map(|reply| reply.status)
    };
    thread::spawn(ask).join().map_err(|_| anyhow!("the client panicked"))?
}
