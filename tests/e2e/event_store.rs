//! The event store: whatever was printed is in it, once, however the agent ends and whatever happens to the disk.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest::agent::{Agent, has_text};
use guest::creation::{self, Mode, NamespaceSpec};
use guest::events::{number, numbered, written};
use guest::guard::{self, Guard};
use guest::infoblock::InfoBlock;
use guest::policy::{GuardMode, Policy};
use guest::{MIB, namespace, regions, wait};
use nix::mount::{MsFlags, mount, umount};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(20);
const DAY: i64 = 24 * 60 * 60;

const DISK: &str = "/run/disk";
const ON_DISK: &str = "/run/disk/pfnwatch.db";

fn disk(kib: u64, flags: MsFlags) -> Result<()> {
    fs::create_dir_all(DISK)?;
    let size = format!("size={kib}k,mode=700");
    mount(Some("tmpfs"), DISK, Some("tmpfs"), flags, Some(size.as_str()))
        .with_context(|| format!("no disk of {kib} KiB"))
}

fn change_mode(stance: GuardMode) -> Result<()> {
    let answer = guard::request(&json!({ "mode": { "mode": stance.as_str(), "reason": "x".repeat(500) } }))?;
    ensure!(answer.get("answer").is_some(), "{answer}");
    Ok(())
}

fn uncommitted(agent: &mut Agent) -> Vec<Value> {
    agent.events(|event| event.get("uncommitted") == Some(&true.into()))
}

/// Observing and guarding go on, and events are stored once there is room.
#[test]
fn full_disk_is_survived_and_mended() -> Result<()> {
    let region = regions::fresh()?.first;
    disk(512, MsFlags::empty())?;
    let mut guard = Guard::start_with(&Policy::strict(GuardMode::Audit), &["--store", ON_DISK])?;
    let begun = Instant::now();
    while uncommitted(&mut guard).is_empty() {
        ensure!(begun.elapsed() < TIMEOUT, "the disk is never full{}", guard.output());
        change_mode(GuardMode::Enforce)?;
        change_mode(GuardMode::Audit)?;
    }
    change_mode(GuardMode::Enforce)?;
    let wanted = NamespaceSpec::new(&region, Mode::Fsdax, 512 * MIB);
    let prepared = creation::prepare(&wanted)?;
    let denied = guard.denies(&prepared)?;
    ensure!(denied.get("uncommitted") == Some(&true.into()) && number(&denied).is_none(), "{denied}");
    let complaints = guard.log_lines("the event store failed");
    ensure!(complaints == 1, "logged {complaints} times{}", guard.output());

    disk(4096, MsFlags::MS_REMOUNT)?;
    // It retries every 30 s, and at once on SIGHUP.
    guard.signal(Signal::SIGHUP)?;
    guard.event("an event that is committed again", TIMEOUT, |event| {
        (has_text(event, "event", "policy_loaded") && event["number"].as_u64() > Some(1)).then_some(())
    })?;
    let later = wait::until("what was reported meanwhile, in the event store", TIMEOUT, || {
        written(&["--store", ON_DISK])
            .ok()
            .filter(|events| events.iter().any(|event| has_text(event, "event", "denied")))
    });
    let written = later.with_context(|| guard.output())?;
    numbered(&written)?;
    let without = |event: &Value| {
        let mut event = event.clone();
        event.as_object_mut().map(|keys| (keys.remove("id"), keys.remove("uncommitted")));
        event.to_string()
    };
    let all: Vec<String> = written.iter().map(without).collect();
    for event in guard.events(|_| true).iter().map(without) {
        ensure!(all.iter().filter(|one| **one == event).count() == 1, "{event} is not in the event store once");
    }
    change_mode(GuardMode::Audit)?;
    let last = written.last().and_then(number);
    guard.event("a change with a number", TIMEOUT, |event| {
        (has_text(event, "event", "mode_changed") && number(event) > last).then_some(())
    })?;
    guard.stop_and_count()?;
    umount(DISK).context("the disk is still used")
}

/// Sets the clock of the guest by so many seconds.
fn shift_clock(seconds: i64) -> Result<()> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    let then = TimeSpec::new(now.tv_sec() + seconds, now.tv_nsec());
    clock_settime(ClockId::CLOCK_REALTIME, then).context("the clock cannot be set")
}

#[test]
fn a_block_and_the_order_outlive_the_agent_and_a_clock_that_is_set_back() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::default_audit(GuardMode::Audit))?;
    let wanted = NamespaceSpec::new(&region, Mode::Fsdax, 64 * MIB);
    let made = creation::create(&wanted)?;
    guard.set_up(&made.namespace_uuid, "made")?;
    shift_clock(-DAY)?;
    change_mode(GuardMode::Enforce)?;
    guard.kill()?;
    let restored = |output: &str| -> Result<Vec<u8>> {
        guard::succeed(&["events", "restore-block", &made.namespace_uuid, "-o", output])?;
        fs::read(output).with_context(|| format!("no {output}"))
    };
    let told_by_nobody = restored("/run/one.infoblock");
    // The next agent sees no block: the namespace is disabled, and never enabled before this one.
    namespace::disable(&made.namespace)?;
    let next = Guard::start(&Policy::default_audit(GuardMode::Audit));
    shift_clock(DAY)?;
    let mut next = next?;
    let told_by_the_next = restored("/run/two.infoblock")?;
    let before = guard.remaining_events();
    let events = written(&[])?;
    let known = numbered(&events)?;
    for event in &before {
        let number = number(event).with_context(|| format!("no number: {event}"))?;
        ensure!(known.get(&number) == Some(&event), "{event} is not in the event store as it was reported");
    }
    let since = written(&["--since", "2h", "--kind", "set_up", "--namespace", &made.namespace_uuid])?;
    ensure!(since.len() == 1, "by its own time, not by its place: {since:?}");
    next.stop_and_count()?;
    namespace::enable(&made.namespace)?;
    let media = InfoBlock::read(&made.namespace)?;
    ensure!(told_by_nobody? == media.bytes() && told_by_the_next == media.bytes(), "another block");
    Ok(())
}
