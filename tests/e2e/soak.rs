//! For a while, and longer by `cargo xtask soak`: everything by chance (`guest::soak`), and one thing again and again.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::agent::has_text;
use guest::boot_config::BootConfig;
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::guard::{self, Guard, JUDGEMENTS};
use guest::policy::{GuardMode, Policy};
use guest::report::{self, Report};
use guest::{MIB, namespace, regions, soak, sysfs};
use nix::libc;

/// The limit of the event store, which 1,000 denials exceed.
const STORE_BYTES: u64 = 2 * MIB;
/// SQLite's log, and the events between two looks of the agent, which takes one every 30 s.
const STORE_SLACK_BYTES: u64 = 6 * MIB;
const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn the_event_store_says_what_was_done() -> Result<()> {
    soak::run(BootConfig::read()?.soak)
}

/// As a storage provisioner would: each attempt writes a label, sets the seeds up, is denied, and undoes it.
#[test]
fn a_caller_that_never_gives_up_gets_one_event_for_each_attempt() -> Result<()> {
    let creations = BootConfig::read()?.soak.creations;
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce).store_of(STORE_BYTES))?;
    let wanted = NamespaceSpec::new(&region, Mode::Fsdax, 512 * MIB);
    let before = (devices(), sysfs::number(&region, "available_size")?);
    let (mut attempted, mut largest) = (BTreeSet::new(), 0);
    for attempt in 1..=creations {
        let prepared = creation::prepare(&wanted).with_context(|| format!("attempt {attempt}"))?;
        let code = prepared.bind().map_err(|error| error.raw_os_error());
        ensure!(code == Err(Some(libc::ENOMEM)), "attempt {attempt}: {code:?}, and no denial{}", guard.output());
        attempted.insert(prepared.block_uuid);
        namespace::destroy(&prepared.namespace)?;
        if attempt.is_multiple_of(50) {
            largest = largest.max(store_bytes()?);
        }
        if attempt.is_multiple_of(1000) {
            report::print(&Report::Output { line: format!("{attempt} attempts, event store {} KiB", largest >> 10) });
        }
    }
    // One more of each device at most: the next seeds.
    let (devices_before, room) = before;
    let left = (devices(), sysfs::number(&region, "available_size")?);
    ensure!(left.0 <= devices_before + 3 && left.1 == room, "{left:?} are left of {before:?}");
    ensure!(largest <= STORE_BYTES + STORE_SLACK_BYTES, "the event store had {largest} bytes");

    let count = usize::try_from(creations)?;
    let is_denial = |event: &serde_json::Value| has_text(event, "event", "denied");
    let denials = guard.collect("a denial for each", count, TIMEOUT, is_denial)?;
    let denied: BTreeSet<_> =
        denials.iter().filter_map(|event| event["block_uuid"].as_str().map(str::to_owned)).collect();
    ensure!(denials.len() == count && denied == attempted, "{} events of {} attempts", denials.len(), attempted.len());
    let status = guard::status()?;
    ensure!(status["enforcement_effective"] == true, "{status:#}");
    // The same seed makes what is allowed.
    let allowed = creation::prepare(&NamespaceSpec { map: Map::Mem, ..wanted })?;
    guard.passes(&allowed)?;
    guard.set_up(&allowed.namespace_uuid, "made")?;
    let tally = guard.stop_and_count()?;
    ensure!(tally["lost"] == 0 && tally["decode_errors"] == 0, "{tally}");
    let judged = guard.events(|event| JUDGEMENTS.iter().any(|kind| has_text(event, "event", kind))).len();
    ensure!(judged == count, "{judged} judgements of {count} attempts");
    report::print(&Report::Output { line: format!("{creations} attempts, event store at most {} KiB", largest >> 10) });
    Ok(())
}

/// Devices of the bus: namespaces, and those that claim them.
fn devices() -> usize {
    ["namespace", "pfn", "dax", "btt"].iter().map(|kind| sysfs::devices(kind).len()).sum()
}

/// The event store with SQLite's log.
fn store_bytes() -> Result<u64> {
    let bytes = |suffix| fs::metadata(format!("/var/lib/pfnwatch/pfnwatch.db{suffix}")).map(|file| file.len());
    Ok(bytes("").context("no event store")? + bytes("-wal").unwrap_or(0))
}
