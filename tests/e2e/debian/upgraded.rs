//! An upgrade and a roll-back under a held guard, over a journal that the earlier version does not know, while somebody tries a
//! oversize creation again and again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::agent::{self, has_text};
use guest::debian::{self, NEWER, PACKAGE, UNIT, property};
use guest::{command, creation, namespace, wait};
use nix::libc;
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{ENFORCE_AND_HOLD, oversize};
use crate::guard::fixtures::{again, nothing_is_written, prepare_blank};

mod later;

const TIMEOUT: Duration = Duration::from_secs(90);
/// Between two attempts. An exchange takes seconds; a flood of denials would delay the new agent's start.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

#[test]
fn guard_holds_over_an_upgrade_and_a_roll_back() -> Result<()> {
    let region = debian::fresh()?;
    debian::install(PACKAGE)?;
    let older = debian::version()?;
    // What is there may always be enabled, whoever guards.
    let existing = creation::create(&oversize(&region))?;
    debian::configure(ENFORCE_AND_HOLD)?;
    debian::systemctl(&["restart", UNIT])?;
    debian::armed()?;
    let prepared = prepare_blank(&oversize(&region))?;
    let (trying, tries) = (AtomicBool::new(true), AtomicUsize::new(0));
    thread::scope(|scope| -> Result<()> {
        let rival = scope.spawn(|| -> Result<()> {
            while trying.load(Ordering::Acquire) {
                let code = prepared.bind().map_err(|error| error.raw_os_error());
                ensure!(code == Err(Some(libc::ENOMEM)), "try {tries:?} was not denied: {code:?}");
                tries.fetch_add(1, Ordering::Release);
                thread::sleep(POLL_INTERVAL);
            }
            Ok(())
        });
        let exchanged = exchange(&older, &tries);
        trying.store(false, Ordering::Release);
        rival.join().unwrap_or_else(|_| anyhow::bail!("the rival panicked"))?;
        exchanged
    })?;
    nothing_is_written(&prepared.namespace)?;
    namespace::disable(&existing.namespace)?;
    namespace::enable(&existing.namespace)?;
    // The guard that is in charge now is no leftover: it does what its agent is told.
    guest::guard::succeed(&["mode", "audit"])?;
    again(&oversize(&region), &prepared.namespace)?.bind().context("audit denies nothing")
}

/// Upgrade, downgrade to a version that does not know the store's schema, and upgrade again; after each another agent
/// guards.
fn exchange(older: &str, tries: &AtomicUsize) -> Result<()> {
    install(NEWER, tries)?;
    ensure!(debian::version()? != older, "{older} is installed");
    let first = first_id()?;

    // What a later version has done to it, once nobody has it open.
    debian::systemctl(&["stop", UNIT])?;
    later::disguise()?;
    let disguised = later::bytes()?;
    let agent = install(PACKAGE, tries)?;
    assert_eq!(debian::version()?, older);
    let told = debian::journal(&["PFNWATCH_EVENT=denied", &format!("_PID={agent}"), "--lines=1"])?;
    let marked = |entry: &Value| entry.get("PFNWATCH_ID").is_none() && says_not_written(entry);
    ensure!(told.iter().all(marked), "it is not told uncommitted: {told:#?}");
    ensure!(later::bytes()? == disguised, "the later version's journal was touched");
    let said = command::attempt(agent::PROGRAM, &["events"])?;
    ensure!(said.code == Some(1) && said.stderr.contains("schema 3"), "{said:?}");

    // As docs/install.md has it: set aside, and taken back.
    later::set_aside()?;
    debian::systemctl(&["reload", UNIT])?;
    debian::event("a denial in a journal of its own", |event| has_text(event, "event", "denied"))?;
    debian::systemctl(&["stop", UNIT])?;
    later::take_back()?;
    ensure!(later::bytes()? == disguised, "the later version's journal was touched");
    later::undisguise()?;
    install(NEWER, tries)?;
    assert_eq!(first_id()?, first, "the later version does not go on with its journal");
    Ok(())
}

/// Installs a package, and waits until its agent has taken over and guards. Its socket would have to wait while denials
/// are sent, so the test reads journald.
fn install(package: &str, tries: &AtomicUsize) -> Result<Pid> {
    let before = property(UNIT, "MainPID")?;
    debian::install(package)?;
    let now = debian::active()?;
    ensure!(now.to_string() != before, "the agent was not exchanged: {}", debian::status());
    for event in ["guard_taken_over", "denied"] {
        let matches = [format!("PFNWATCH_EVENT={event}"), format!("_PID={now}"), "--lines=1".to_owned()];
        let said = || debian::journal(&matches.each_ref().map(String::as_str)).ok().filter(|said| !said.is_empty());
        wait::until(&format!("{event} by {now}"), TIMEOUT, said).with_context(debian::status)?;
    }
    let sofar = tries.load(Ordering::Acquire);
    wait::until("further tries", TIMEOUT, || (tries.load(Ordering::Acquire) > sofar + 3).then_some(()))?;
    Ok(now)
}

fn says_not_written(entry: &Value) -> bool {
    entry["MESSAGE"].as_str().is_some_and(|line| line.ends_with("[not in the journal]"))
}

/// The number and the time of the journal's first event.
fn first_id() -> Result<Value> {
    let event = debian::events()?.into_iter().next().context("the journal is empty")?;
    Ok(json!([event.get("id"), event.get("time")]))
}
