//! libnvdimm comes after the agent, goes, and comes again; the drivers over it come and go by themselves.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::agent::{Agent, has_text};
use guest::creation::{self, Mode, NamespaceSpec};
use guest::{MIB, facts, modules, namespace, regions};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Waits until the agent has sent `ready` so often, and returns its states, with each `blind` between.
fn states(agent: &mut Agent, count: usize) -> Result<Vec<String>> {
    let is_state = |event: &Value| has_text(event, "event", "ready") || has_text(event, "event", "blind");
    let is_ready = |event: &Value| has_text(event, "event", "ready");
    agent.collect(&format!("{count} times ready"), count, TIMEOUT, is_ready)?;
    let word = |event: &Value| {
        let key = if is_ready(event) { "state" } else { "event" };
        event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    Ok(agent.events(is_state).iter().map(word).collect())
}

/// Makes a namespace, and compares its event with sysfs.
fn creation_is_seen(agent: &mut Agent, mode: Mode) -> Result<()> {
    let region = regions::find()?.second;
    let wanted = NamespaceSpec::new(&region, mode, 160 * MIB);
    let made = creation::create(&wanted)?;
    let event = agent.set_up(&made.namespace_uuid, "made").context("the creation goes unseen")?;
    facts::compare(&event, &facts::of_sysfs(&made.namespace)?)?;
    facts::compare(&event, &facts::of_success(true, facts::this_thread()?)?)?;
    namespace::destroy(&made.namespace)
}

#[test]
fn libnvdimm_after_the_agent_unloaded_and_loaded_again() -> Result<()> {
    regions::fresh()?;
    modules::unload_stack()?;
    let mut agent = Agent::start(&[])?;
    assert_eq!(states(&mut agent, 1)?, ["idle"]);
    modules::load("libnvdimm")?;
    assert_eq!(states(&mut agent, 2)?, ["idle", "observing"]);
    modules::load_stack()?;
    creation_is_seen(&mut agent, Mode::Fsdax)?;

    modules::unload_stack()?;
    assert_eq!(states(&mut agent, 3)?, ["idle", "observing", "blind", "idle"]);
    // All at once this time: the agent attaches while the modules over libnvdimm come up.
    modules::load_stack()?;
    assert_eq!(states(&mut agent, 4)?, ["idle", "observing", "blind", "idle", "observing"]);
    creation_is_seen(&mut agent, Mode::Devdax)?;
    let tally = agent.stop_and_count()?;
    ensure!(tally["received"].as_u64() > Some(0), "both stretches count: {tally}");
    assert_eq!((tally["decode_errors"].as_u64(), tally["lost"].as_u64()), (Some(0), Some(0)));
    Ok(())
}

#[test]
fn drivers_unloaded_and_loaded_by_themselves() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    creation_is_seen(&mut agent, Mode::Fsdax)?;
    // The e820 namespace is the one that is bound to nd_pmem now.
    for name in regions::namespaces(&regions.legacy)? {
        namespace::disable(&name)?;
    }
    for (name, mode) in [("nd_pmem", Mode::Fsdax), ("dax_pmem", Mode::Devdax)] {
        modules::unload(name)?;
        ensure!(!modules::loaded(name), "{name} is still there");
        modules::load(name)?;
        creation_is_seen(&mut agent, mode)?;
    }
    assert_eq!(states(&mut agent, 1)?, ["observing"], "libnvdimm itself never went");
    Ok(())
}
