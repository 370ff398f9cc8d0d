//! Waits for the agent's event of a set-up.

use anyhow::{Context as _, Result};
use guest::agent::Agent;
use guest::creation::{self, NamespaceSpec, PreparedNamespace};
use guest::sysfs;
use serde_json::Value;

pub(crate) fn created(agent: &mut Agent, wanted: &NamespaceSpec) -> Result<(PreparedNamespace, Value)> {
    let made = creation::create(wanted)?;
    let event = agent.set_up(&made.namespace_uuid, "made").with_context(|| format!("{wanted:?}"))?;
    Ok((made, event))
}

pub(crate) fn set_up_of_existing(agent: &mut Agent, namespace: &str) -> Result<Value> {
    agent.set_up(&sysfs::text(namespace, "uuid")?, "existing")
}
