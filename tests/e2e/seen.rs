//! What the agent says of a set-up, waited for.

use std::time::Duration;

use anyhow::{Context as _, Result};
use guest::agent::Agent;
use guest::creation::{self, Prepared, Wanted};
use serde_json::Value;

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

const LIMIT: Duration = Duration::from_secs(20);

/// Creates a namespace, and returns it with the agent's event.
pub(crate) fn created(agent: &mut Agent, wanted: &Wanted) -> Result<(Prepared, Value)> {
    let made = creation::create(wanted)?;
    let event = set_up(agent, "block_uuid", &made.block_uuid, "made").with_context(|| format!("{wanted:?}"))?;
    Ok((made, event))
}

/// The event of an enable: the block was there.
pub(crate) fn met(agent: &mut Agent, namespace: &str) -> Result<Value> {
    set_up(agent, "namespace", namespace, "met")
}

/// The event of a set-up of which `key` is `value`.
pub(crate) fn set_up(agent: &mut Agent, key: &str, value: &str, block: &str) -> Result<Value> {
    agent.event(&format!("a set-up with {key} {value}, block {block}"), LIMIT, |event| {
        let wanted = [("event", "set_up"), (key, value), ("block", block)];
        wanted.iter().all(|(key, value)| event.get(key).is_some_and(|is| is == value)).then(|| event.clone())
    })
}
