//! Different things beside each other: two NVDIMMs, the e820 region without labels, sector and raw namespaces.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::agent::{Agent, has_text};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::infoblock::{InfoBlock, raw};
use guest::{MIB, facts, namespace, ndctl, regions, sysfs};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(20);

fn wanted(region: &str, mode: Mode) -> NamespaceSpec {
    NamespaceSpec { region: region.to_owned(), size_bytes: 96 * MIB, mode, map: Map::Dev, align_bytes: 2 * MIB }
}

#[test]
fn two_nvdimms_in_one_stream() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let first = creation::create(&wanted(&regions.first, Mode::Fsdax))?;
    let second = creation::create(&wanted(&regions.second, Mode::Devdax))?;
    for (made, region) in [(&first, &regions.first), (&second, &regions.second)] {
        let event = agent.set_up(&made.namespace_uuid, "made")?;
        assert_eq!(event["region"], json!(region));
        facts::compare(&event, &facts::of_sysfs(&made.namespace)?)?;
    }
    Ok(())
}

fn set_up_at(agent: &mut Agent, start: u64, block: &str) -> Result<Value> {
    agent.event(&format!("a set-up at {start:#x}, block {block}"), TIMEOUT, |event| {
        let here = event.get("start_address").and_then(Value::as_u64) == Some(start);
        (here && has_text(event, "event", "set_up") && has_text(event, "block", block)).then(|| event.clone())
    })
}

#[test]
fn e820_namespace_is_known_by_its_address() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let namespaces = regions::namespaces(&regions.legacy)?;
    let [name] = namespaces.as_slice() else { panic!("one namespace was expected: {namespaces:?}") };
    let start = sysfs::number(name, "resource")?;
    namespace::disable(name)?;
    let made = creation::claim(&wanted(&regions.legacy, Mode::Fsdax), name, &creation::new_uuid()?)?;
    made.bind().context("cannot bind the holder of the e820 namespace")?;

    let event = set_up_at(&mut agent, start, "made")?;
    ensure!(event.get("namespace_uuid") == Some(&Value::Null), "it has no label: {event}");
    let by_sysfs = facts::of_sysfs(name)?;
    facts::compare(&event, &by_sysfs)?;
    facts::compare(&event, &facts::of_success(true, facts::this_thread()?)?)?;
    facts::compare(&event, &facts::of_block(&raw(name, InfoBlock::of)?)?)?;

    namespace::enable(name)?;
    let met = set_up_at(&mut agent, start, "existing")?;
    facts::compare(&met, &facts::of_success(false, Value::Null)?)?;
    facts::compare(&met, &facts::of_sysfs(name)?)?;
    // Blank it: without a label to distinguish them, the next creation there would meet this block.
    ndctl::destroy(name)
}

#[test]
fn sector_and_raw_namespaces_are_enabled_without_a_set_up() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    for (mode, kind) in [("sector", "btt"), ("raw", "namespace")] {
        let made = ndctl::create(&regions.first, &["-m", mode, "-s", "32M"])?;
        let dev = ndctl::text(&made, "dev")?;
        let label = sysfs::text(dev, "uuid")?;
        let enabled = agent.event(&format!("the {mode} namespace's enable"), TIMEOUT, |event| {
            let ours = has_text(event, "namespace_uuid", &label) && has_text(event, "event", "probe");
            let device = event.get("device").and_then(Value::as_str).is_some_and(|device| device.starts_with(kind));
            (ours && device && has_text(event, "result", "enabled")).then(|| event.clone())
        });
        let enabled = enabled?;
        let expected = json!({
            "namespace": dev, "region": regions.first, "driver": "nd_pmem", "bind_code": 0, "incomplete": false,
            "start_address": sysfs::number(dev, "resource")?, "size_bytes": sysfs::number(dev, "size")?,
        });
        facts::compare(&enabled, expected.as_object().context("an object")?)?;
    }
    // Beside them, a namespace with a memmap is the only one that is set up.
    let made = creation::create(&wanted(&regions.first, Mode::Fsdax))?;
    agent.set_up(&made.namespace_uuid, "made")?;
    agent.stop_and_count()?;
    let all = agent.events(|event| has_text(event, "event", "set_up"));
    assert_eq!(all.len(), 1, "{all:?}");
    Ok(())
}
