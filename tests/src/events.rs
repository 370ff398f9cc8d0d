//! What is in the agent's journal, by `pfnwatch events`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{agent, command};

/// All events of a store, or those that these options of `pfnwatch events` select.
pub fn written(more: &[&str]) -> Result<Vec<Value>> {
    let all = ["events", "--format", "json", "--limit", "1000000"];
    let text = command::run(agent::PROGRAM, &[&all, more].concat())?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}

pub fn number(event: &Value) -> Option<u64> {
    event.get("id")?.as_u64()
}

/// Requires that each number is there once, and growing.
pub fn numbered(events: &[Value]) -> Result<BTreeMap<u64, &Value>> {
    let numbers: Vec<u64> = events.iter().map(|event| number(event).context("no number")).collect::<Result<_>>()?;
    ensure!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    Ok(numbers.into_iter().zip(events).collect())
}
