//! The real ndctl, by its JSON.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// Runs ndctl, which must succeed. Its JSON: an object for one result, a list for several, null for none.
pub fn ndctl(arguments: &[&str]) -> Result<Value> {
    let stdout = command::run("/bin/ndctl", arguments)?;
    match stdout.trim() {
        "" => Ok(Value::Null),
        text => serde_json::from_str(text).with_context(|| format!("ndctl {}: no JSON: {text}", arguments.join(" "))),
    }
}

/// `ndctl create-namespace` with further arguments, such as `["-m", "fsdax", "-M", "dev", "-s", "1G"]`; the new
/// namespace as ndctl describes it (`dev`, `mode`, `map`, `size`, `uuid`, `align`, …).
pub fn create(region: &str, arguments: &[&str]) -> Result<Value> {
    ndctl(&[&["create-namespace", "-r", region], arguments].concat())
}

pub fn disable(namespace: &str) -> Result<()> {
    command::run("/bin/ndctl", &["disable-namespace", namespace]).map(drop)
}

pub fn enable(namespace: &str) -> Result<()> {
    command::run("/bin/ndctl", &["enable-namespace", namespace]).map(drop)
}

pub fn destroy(namespace: &str) -> Result<()> {
    command::run("/bin/ndctl", &["destroy-namespace", "-f", namespace]).map(drop)
}

pub fn text<'a>(json: &'a Value, key: &str) -> Result<&'a str> {
    json.get(key).and_then(Value::as_str).with_context(|| format!("ndctl gives no text {key}: {json}"))
}

pub fn number(json: &Value, key: &str) -> Result<u64> {
    json.get(key).and_then(Value::as_u64).with_context(|| format!("ndctl gives no number {key}: {json}"))
}
