//! An upgrade and a roll-back under a held guard, over an event store that the earlier version does not know, while somebody tries a
//! oversize creation again and again.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
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
    // The guard in charge is not a leftover: it follows its agent's mode.
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
    disguise()?;
    let disguised = bytes()?;
    let agent = install(PACKAGE, tries)?;
    assert_eq!(debian::version()?, older);
    let denials = debian::journal(&["PFNWATCH_EVENT=denied", &format!("_PID={agent}"), "--lines=1"])?;
    let marked = |entry: &Value| entry.get("PFNWATCH_ID").is_none() && says_not_written(entry);
    ensure!(denials.iter().all(marked), "it is not reported as uncommitted: {denials:#?}");
    ensure!(bytes()? == disguised, "the later version's event store was touched");
    let said = command::attempt(agent::PROGRAM, &["events"])?;
    ensure!(said.code == Some(1) && said.stderr.contains(&format!("schema {LATER}")), "{said:?}");

    // As docs/install.md has it: set aside, and taken back.
    move_aside()?;
    debian::systemctl(&["reload", UNIT])?;
    debian::event("a denial in an event store of its own", |event| has_text(event, "event", "denied"))?;
    debian::systemctl(&["stop", UNIT])?;
    take_back()?;
    ensure!(bytes()? == disguised, "the later version's event store was touched");
    undisguise()?;
    install(NEWER, tries)?;
    assert_eq!(first_id()?, first, "the later version does not go on with its event store");
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
    entry["MESSAGE"].as_str().is_some_and(|line| line.ends_with("[not in the event store]"))
}

/// The number and the time of the event store's first event.
fn first_id() -> Result<Value> {
    let event = debian::events()?.into_iter().next().context("the event store is empty")?;
    Ok(json!([event.get("id"), event.get("time")]))
}

const STORE: &str = "/var/lib/pfnwatch/pfnwatch.db";
const ASIDE: &str = "/var/lib/pfnwatch/pfnwatch.db.later";
const LOG: &str = "/var/lib/pfnwatch/pfnwatch.db-wal";
/// Where SQLite has `user_version`, in big endian (sqlite.org/fileformat.html).
const VERSION_AT: u64 = 60;
/// The schema that this version writes, and the next one.
const NOW: u32 = 5;
const LATER: u32 = 6;

fn disguise() -> Result<()> {
    change(NOW, LATER)
}

/// This version plays the later one, which knows the schema.
fn undisguise() -> Result<()> {
    change(LATER, NOW)
}

fn bytes() -> Result<Vec<u8>> {
    fs::read(STORE).context("no event store")
}

fn move_aside() -> Result<()> {
    fs::rename(STORE, ASIDE).context("the event store cannot be moved")
}

fn take_back() -> Result<()> {
    fs::rename(ASIDE, STORE).context("the event store cannot be taken back")
}

fn change(from: u32, to: u32) -> Result<()> {
    ensure!(!Path::new(LOG).exists(), "somebody has the event store open");
    let file = File::options().read(true).write(true).open(STORE).context("no event store")?;
    let mut version = [0; 4];
    file.read_exact_at(&mut version, VERSION_AT)?;
    ensure!(u32::from_be_bytes(version) == from, "the event store has schema {}", u32::from_be_bytes(version));
    file.write_all_at(&to.to_be_bytes(), VERSION_AT).context("the event store cannot be changed")
}
