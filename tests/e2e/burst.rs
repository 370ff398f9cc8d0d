//! Many at once: the kernel probes 64 namespaces in parallel, and each is reported exactly once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Error, Result, bail, ensure};
use guest::agent::{Agent, has_text};
use guest::creation::{self, Mode, NamespaceSpec};
use guest::{MIB, command, facts, regions, sysfs};
use serde_json::{Value, json};

const COUNT: usize = 64;
/// What goes wrong in a burst goes wrong now and then: one round is not enough to see it.
const ROUNDS: usize = 2;
const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn enable_of_64_namespaces_at_once() -> Result<()> {
    let regions = regions::fresh()?;
    // fsdax and devdax in turn: two drivers.
    let wanted = |index: usize| {
        NamespaceSpec::new(&regions.first, if index.is_multiple_of(2) { Mode::Fsdax } else { Mode::Devdax }, 16 * MIB)
    };
    let made: Vec<_> = (0..COUNT).map(|index| creation::create(&wanted(index))).collect::<Result<_>>()?;
    let mut agent = Agent::start(&[])?;
    let is_set_up = |event: &Value| has_text(event, "event", "set_up");
    for round in 1..=ROUNDS {
        command::run("/bin/ndctl", &["disable-region", &regions.first])?;
        command::run("/bin/ndctl", &["enable-region", &regions.first])?;
        if let Err(error) = agent.collect(&format!("all set-ups of round {round}"), COUNT * round, TIMEOUT, is_set_up) {
            // The counters show whether the kernel skipped a program, which LIMITATIONS.md names, or a record was lost.
            bail!("{}, the counters: {}", first_line(&error), agent.stop_and_count()?);
        }
    }
    // Nothing comes after them: the tally is taken when all that was in the kernel has been read.
    let tally = agent.stop_and_count()?;
    let events = agent.events(is_set_up);
    assert_eq!(events.len(), COUNT * ROUNDS);
    let lost = json!({ "lost": 0, "read_faults": 0, "table_full": 0, "unpaired": 0, "decode_errors": 0 });
    facts::compare(&tally, &lost.as_object().cloned().unwrap_or_default())?;

    let mut last = BTreeMap::new();
    for event in &events {
        let uuid = event.get("namespace_uuid").and_then(Value::as_str).unwrap_or_default();
        let (times, latest) = last.entry(uuid).or_insert((0, event));
        (*times, *latest) = (*times + 1, event);
    }
    for namespace in &made {
        let Some((times, event)) = last.get(namespace.namespace_uuid.as_str()) else {
            panic!("no event of {namespace:?}")
        };
        assert_eq!(*times, ROUNDS, "once a round: {namespace:?}{}", agent.output());
        facts::compare(event, &facts::of_success(false, Value::Null)?)?;
        facts::compare(event, &facts::of_sysfs(&namespace_of(&namespace.namespace_uuid)?)?)?;
        assert_eq!(event["block_uuid"], json!(namespace.block_uuid));
    }
    Ok(())
}

fn first_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// The kernel assigns new numbers when a region is enabled.
fn namespace_of(uuid: &str) -> Result<String> {
    let found =
        sysfs::devices("namespace").into_iter().find(|name| sysfs::text(name, "uuid").is_ok_and(|it| it == uuid));
    ensure!(found.is_some(), "no namespace has the uuid {uuid}");
    Ok(found.unwrap_or_default())
}
