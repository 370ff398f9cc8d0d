//! A libnvdimm with the regression comes after one without, under the same agent and under the next one.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::agent::{Agent, says};
use guest::creation::{self, Map, Mode, Wanted};
use guest::pfnwatch::{ensure_says, report};
use guest::{guard, modules, namespace, regions};
use serde_json::{Value, json};

use crate::seen::{GIB, MIB};

const JOURNAL: &str = "/run/regressed.db";
const LIMIT: Duration = Duration::from_secs(30);

/// The machine, which comes with the regression, and is left with it.
struct Machine {
    stock: bool,
}

impl Machine {
    /// The other libnvdimm takes this one's place. Gives the first region.
    fn exchange(&mut self) -> Result<String> {
        modules::unload_stack()?;
        modules::exchange_libnvdimm()?;
        self.stock = !self.stock;
        modules::load_stack()?;
        Ok(regions::find()?.first)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.stock {
            // Where that fails the tests after this one say so.
            let _ = self.exchange();
        }
    }
}

/// The only namespace of the region: libnvdimm names them anew when it is loaded.
fn only(region: &str) -> Result<String> {
    let names = regions::namespaces(region)?;
    ensure!(names.len() == 1, "one namespace is expected: {names:?}");
    names.into_iter().next().context("a namespace")
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
    let mut machine = Machine { stock: false };
    let region = machine.exchange()?;
    let mut agent = Agent::start(&["--journal", JOURNAL])?;
    let good = creation::create(&one_gib(&region))?;
    agent.set_up(&good.namespace_uuid, "made")?;
    ensure_says(&baseline(0)?, &json!({ "regressions": [] }))?;

    // Libnvdimm with the regression, under the agent: the host costs more, and then what is made anew does.
    let region = machine.exchange()?;
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
    namespace::destroy(&only(&region)?)?;
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
    let region = machine.exchange()?;
    told(&mut agent, "capacity_regression_ended", "host")?;
    namespace::destroy(&only(&region)?)?;
    told(&mut agent, "capacity_regression_ended", "namespace")?;
    creation::create(&one_gib(&region))?;
    ensure_says(&baseline(0)?, &json!({ "regressions": [] }))?;
    is_accepted(&mut machine, agent)?;
    fs::remove_file(JOURNAL).context("the journal")
}

/// Libnvdimm with the regression comes once more: it is told again, and then it is what everything is held against.
fn is_accepted(machine: &mut Machine, mut agent: Agent) -> Result<()> {
    let accept = |whose: &[&str]| guard::tell(&[&["baseline", "accept", "--reason", "ticket 7"], whose].concat());
    let nothing = accept(&["--host"])?;
    ensure!(nothing.code == Some(2) && nothing.stderr.contains("does not cost more"), "{nothing:?}");
    let region = machine.exchange()?;
    namespace::destroy(&only(&region)?)?;
    let bad = creation::create(&one_gib(&region))?;
    let again = |event: &Value| says(event, "event", "capacity_regression");
    agent.collect("both regressions again", 4, LIMIT, again)?;
    let standing = baseline(3)?;
    ensure!(standing.get("regressions").and_then(Value::as_array).is_some_and(|all| all.len() == 2), "{standing:#}");
    for whose in [["--host"].as_slice(), &["--namespace", &bad.namespace_uuid]] {
        let said = accept(whose)?;
        ensure!(said.code == Some(0) && said.stdout.starts_with("accepted: that "), "{said:?}");
    }
    let accepted = agent.collect("what was accepted", 2, LIMIT, |event| says(event, "event", "baseline_accepted"))?;
    for event in &accepted {
        ensure!(event.pointer("/by/uid") == Some(&0.into()) && says(event, "reason", "ticket 7"), "{event}");
    }
    ensure_says(&baseline(0)?, &json!({ "regressions": [] }))?;
    agent.kill()?;

    let mut agent = Agent::start(&["--journal", JOURNAL])?;
    agent.event("the guard", LIMIT, |event| says(event, "event", "guard_state").then_some(()))?;
    agent.tally()?;
    ensure!(agent.events(again).is_empty(), "{}", agent.said());
    let said = baseline(0)?;
    ensure!(said.pointer("/namespaces/0/accepted/reason") == Some(&"ticket 7".into()), "{said:#}");
    Ok(())
}
