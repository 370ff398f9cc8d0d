//! A ring buffer of one page and an agent that is held up: what is lost is counted, to the record.

use anyhow::{Context, Result, ensure};
use guest::agent::{Agent, has_text};
use guest::creation::{self, Mode, NamespaceSpec};
use guest::{MIB, facts, regions, sysfs};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Each is an unbind and a bind: two records. The memmap is on the media, so that its removal is none.
const CYCLES: u64 = 20;
/// Each is one record, of user space configuring a device to claim a namespace that does not exist.
const CLAIMS: u64 = 150;

fn number(event: &Value, key: &str) -> Result<u64> {
    event.get(key).and_then(Value::as_u64).with_context(|| format!("no number {key} in {event}"))
}

#[test]
fn seen_and_lost_make_all_that_happened() -> Result<()> {
    let regions = regions::fresh()?;
    let wanted = NamespaceSpec::new(&regions.first, Mode::Devdax, 16 * MIB);
    let made = creation::create(&wanted)?;
    let idle = sysfs::text(&regions.first, "pfn_seed")?;
    let mut agent = Agent::start(&["--ring-size", "4KiB"])?;

    agent.signal(Signal::SIGSTOP)?;
    for _ in 0..CYCLES {
        sysfs::unbind(&made.holder)?;
        made.bind()?;
    }
    for _ in 0..CLAIMS {
        ensure!(sysfs::write(&idle, "namespace", "namespace99.99").is_err(), "there is no such namespace");
    }
    agent.signal(Signal::SIGCONT)?;
    // What is asked of it now comes after all that happened: it reads the rest first.
    let tally = agent.stop_and_count()?;

    let (received, lost) = (number(&tally, "received")?, number(&tally, "lost")?);
    assert_eq!(received + lost, 2 * CYCLES + CLAIMS, "{tally}");
    ensure!(received > 0 && lost > 0, "a page holds some, and not all: {tally}");
    let none = json!({ "decode_errors": 0, "table_full": 0, "unpaired": 0, "read_faults": 0 });
    facts::compare(&tally, none.as_object().context("an object")?)?;

    let reported =
        agent.events(|event| ["set_up", "unbind", "claim"].iter().any(|kind| has_text(event, "event", kind)));
    assert_eq!(u64::try_from(reported.len())?, received, "each record is an event: {tally}");
    let losses = agent.events(|event| has_text(event, "event", "lost"));
    let sum = losses.iter().map(|event| number(event, "lost")).sum::<Result<u64>>()?;
    assert_eq!(sum, lost, "each loss is reported in one event: {losses:?}");
    Ok(())
}
