//! A libnvdimm with the regression comes after one without, under the same agent and under the next one.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::agent::{Agent, says};
use guest::creation::{self, Map, Mode, Wanted};
use guest::pfnwatch::{ensure_says, report};
use guest::{modules, namespace, regions};
use serde_json::{Value, json};

use crate::seen::{GIB, MIB};

const JOURNAL: &str = "/run/regressed.db";
const LIMIT: Duration = Duration::from_secs(30);

/// The other libnvdimm takes this one's place. Gives the first region.
fn exchange() -> Result<String> {
    modules::unload_stack()?;
    modules::exchange_libnvdimm()?;
    modules::load_stack()?;
    Ok(regions::find()?.first)
}

fn one_gib(region: &str) -> Wanted {
    Wanted { region: region.to_owned(), size_bytes: GIB, mode: Mode::Fsdax, map: Map::Dev, align_bytes: 2 * MIB }
}

fn told(agent: &mut Agent, kind: &str, subject: &str) -> Result<Value> {
    let wanted = |event: &Value| (says(event, "event", kind) && says(event, "subject", subject)).then(|| event.clone());
    agent.event(&format!("{kind} of the {subject}"), LIMIT, wanted)
}

fn baseline(code: i32) -> Result<Value> {
    report(code, &["baseline", "--journal", JOURNAL])
}

#[test]
fn is_told_once_with_both_costs_and_once_when_it_ends() -> Result<()> {
    regions::fresh()?;
    // What the machine comes with has the regression.
    let region = exchange()?;
    let mut agent = Agent::start(&["--journal", JOURNAL])?;
    let good = creation::create(&one_gib(&region))?;
    agent.set_up(&good.namespace_uuid, "made")?;
    ensure_says(&baseline(0)?, &json!({ "regressions": [] }))?;

    // Libnvdimm with the regression, under the agent: the host costs more, and then what is made anew does.
    let region = exchange()?;
    let host = told(&mut agent, "capacity_regression", "host")?;
    ensure_says(&host, &json!({ "lost_bytes": 16 * GIB }))?;
    ensure_says(
        &host["before"],
        &json!({ "reservation_bytes": 16 * GIB + 2 * MIB, "max_struct_page_size_bytes": 64 }),
    )?;
    ensure_says(
        &host["after"],
        &json!({ "reservation_bytes": 32 * GIB + 2 * MIB, "max_struct_page_size_bytes": 128 }),
    )?;
    namespace::destroy(&good.namespace)?;
    let bad = creation::create(&one_gib(&region))?;
    let regressed = told(&mut agent, "capacity_regression", "namespace")?;
    ensure_says(&regressed, &json!({ "namespace_uuid": bad.namespace_uuid, "lost_bytes": 16 * MIB }))?;
    agent.kill()?;

    // Another agent knows, and does not tell it again.
    let mut agent = Agent::start(&["--journal", JOURNAL])?;
    agent.event("what is there", LIMIT, |event| says(event, "event", "found").then_some(()))?;
    agent.event("the guard", LIMIT, |event| says(event, "event", "guard_state").then_some(()))?;
    ensure!(agent.events(|event| says(event, "event", "capacity_regression")).is_empty(), "{}", agent.said());
    let standing = baseline(3)?;
    let subjects: Vec<_> =
        standing["regressions"].as_array().context("a list")?.iter().map(|it| &it["subject"]).collect();
    ensure!(subjects == ["host", "namespace"], "{standing:#}");
    ensure!(standing["kernels"].as_array().is_some_and(|kernels| kernels.len() == 2), "{standing:#}");

    // The good one does not give the namespace back; a rebuild does.
    let region = exchange()?;
    told(&mut agent, "capacity_regression_ended", "host")?;
    namespace::destroy(&bad.namespace)?;
    told(&mut agent, "capacity_regression_ended", "namespace")?;
    creation::create(&one_gib(&region))?;
    agent.tally()?;
    ensure_says(&baseline(0)?, &json!({ "regressions": [] }))?;
    fs::remove_file(JOURNAL)?;
    exchange().map(drop)
}
