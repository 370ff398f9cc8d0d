//! The life of a namespace after its creation: disabled, enabled, destroyed; each reported once, with its kind.

use anyhow::{Context, Result, ensure};
use guest::agent::{Agent, has_text};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::{MIB, facts, namespace, ndctl, regions, sysfs};
use serde_json::{Value, json};

/// The numbers that an enable must share with the creation: all but actor and time.
const SAME: [&str; 17] = [
    "namespace",
    "namespace_uuid",
    "start_address",
    "size_bytes",
    "region",
    "driver",
    "personality",
    "map",
    "align_bytes",
    "block_uuid",
    "reservation_bytes",
    "dataoff_bytes",
    "end_trunc_bytes",
    "usable_bytes",
    "npfns",
    "page_struct_size_bytes",
    "block_page_size_bytes",
];

fn set_ups(agent: &mut Agent, namespace_uuid: &str) -> Vec<Value> {
    agent.events(|event| has_text(event, "event", "set_up") && has_text(event, "namespace_uuid", namespace_uuid))
}

#[test]
fn enable_is_no_creation_and_has_the_same_numbers() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    for (mode, map) in [(Mode::Fsdax, Map::Dev), (Mode::Devdax, Map::Mem)] {
        let wanted = NamespaceSpec { map, ..NamespaceSpec::new(&regions.second, mode, 208 * MIB) };
        let made = creation::create(&wanted)?;
        let creation = agent.set_up(&made.namespace_uuid, "made")?;
        namespace::disable(&made.namespace)?;
        namespace::enable(&made.namespace)?;
        let enable = agent.set_up(&made.namespace_uuid, "existing")?;
        // The kernel probes the device that it has made for the block in a thread of its own.
        facts::compare(&enable, &facts::of_success(false, Value::Null)?)?;
        facts::compare(&enable, &facts::of_sysfs(&made.namespace)?)?;
        for key in SAME {
            ensure!(creation.get(key).is_some(), "no {key} in {creation}");
            assert_eq!(creation[key], enable[key], "{key}");
        }
        let all = set_ups(&mut agent, &made.namespace_uuid);
        assert_eq!(all.len(), 2, "one creation and one enable were expected: {all:?}");
    }
    Ok(())
}

/// The device's own bind and unbind, by hand: it keeps its block in memory, and the kernel finds the existing block.
#[test]
fn unbind_and_bind_of_the_claimer_meets_the_block_again() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let wanted = NamespaceSpec::new(&regions.first, Mode::Fsdax, 64 * MIB);
    let made = creation::create(&wanted)?;
    sysfs::unbind(&made.holder)?;
    made.bind().context("the same device again")?;
    let met = agent.set_up(&made.namespace_uuid, "existing")?;
    facts::compare(&met, &facts::of_success(false, facts::this_thread()?)?)?;
    facts::compare(&met, &facts::of_sysfs(&made.namespace)?)
}

fn step(event: &Value, namespace_uuid: &str, namespace: &str) -> Option<String> {
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
    let ours = text("namespace_uuid") == namespace_uuid || text("namespace") == namespace;
    ours.then(|| match text("event") {
        "set_up" => format!("set_up {}", text("block")),
        "probe" => format!("probe {}", text("result")),
        other => other.to_owned(),
    })
}

#[test]
fn ndctl_create_disable_enable_destroy() -> Result<()> {
    let regions = regions::fresh()?;
    let mut agent = Agent::start(&[])?;
    let made = ndctl::create(&regions.first, &["-m", "fsdax", "-M", "dev", "-s", "64M"])?;
    let dev = ndctl::text(&made, "dev")?.to_owned();
    let label = sysfs::text(&dev, "uuid")?;
    ndctl::disable(&dev)?;
    ndctl::enable(&dev)?;
    agent.set_up(&label, "existing")?;
    let destroyed = |event: &Value| has_text(event, "event", "destroy");
    ensure!(agent.events(destroyed).is_empty(), "nothing is destroyed yet{}", agent.output());
    ndctl::destroy(&dev)?;
    agent.stop_and_count()?;

    let said = agent.output();
    let steps: Vec<String> = agent.events(|_| true).iter().filter_map(|event| step(event, &label, &dev)).collect();
    // What has to be there, in this order; probes may come in between.
    let wanted = ["label", "claim", "set_up made", "unbind", "probe passed_on", "set_up existing", "unbind", "destroy"];
    let mut left = steps.iter();
    for step in wanted {
        ensure!(left.any(|found| found == step), "no {step} where it belongs: {steps:?}{said}");
    }
    let count = |what: &str| steps.iter().filter(|step| *step == what).count();
    assert_eq!((count("set_up made"), count("set_up existing"), count("destroy")), (1, 1, 1), "{steps:?}");
    assert_eq!(count("label"), 1, "ndctl writes several labels for a creation: {steps:?}");
    let destroy = agent.events(destroyed);
    let [destroy] = destroy.as_slice() else { panic!("{destroy:?}") };
    assert_eq!(destroy["namespace_uuid"], json!(label));
    assert_eq!((&destroy["device"], &destroy["region"]), (&json!(dev), &json!(regions.first)));
    assert_eq!((&destroy["by"]["comm"], &destroy["incomplete"]), (&json!("ndctl"), &json!(false)));
    Ok(())
}
