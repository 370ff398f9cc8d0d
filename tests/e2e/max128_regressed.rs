//! A libnvdimm with the regression comes after one without, under the same agent and under the next one.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::agent::{Agent, has_text};
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::pfnwatch::{ensure_contains, report};
use guest::{GIB, MIB, guard, modules, namespace, regions};
use serde_json::{Value, json};

const STORE: &str = "/run/regressed.db";
const TIMEOUT: Duration = Duration::from_secs(30);

struct Machine {
    stock: bool,
}

impl Machine {
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
            // If that fails, the tests after this one report it.
            let _ = self.exchange();
        }
    }
}

/// The only namespace of the region: libnvdimm assigns new names when it is loaded.
fn only(region: &str) -> Result<String> {
    let names = regions::namespaces(region)?;
    ensure!(names.len() == 1, "one namespace is expected: {names:?}");
    names.into_iter().next().context("a namespace")
}

fn one_gib(region: &str) -> NamespaceSpec {
    NamespaceSpec { region: region.to_owned(), size_bytes: GIB, mode: Mode::Fsdax, map: Map::Dev, align_bytes: 2 * MIB }
}

fn regression_event(agent: &mut Agent, kind: &str, subject: &str) -> Result<Value> {
    let wanted =
        |event: &Value| (has_text(event, "event", kind) && has_text(event, "subject", subject)).then(|| event.clone());
    agent.event(&format!("{kind} of the {subject}"), TIMEOUT, wanted)
}

fn baseline(code: i32) -> Result<Value> {
    report(code, &["baseline", "--store", STORE])
}

#[test]
fn is_told_once_and_ends_by_a_rebuild_or_where_it_is_accepted() -> Result<()> {
    regions::fresh()?;
    let mut machine = Machine { stock: false };
    let region = machine.exchange()?;
    let mut agent = Agent::start(&["--store", STORE])?;
    let good = creation::create(&one_gib(&region))?;
    agent.set_up(&good.namespace_uuid, "made")?;
    ensure_contains(&baseline(0)?, &json!({ "regressions": [] }))?;

    // Libnvdimm with the regression, under the agent: the host costs more, and then each rebuilt namespace does.
    let region = machine.exchange()?;
    let host = regression_event(&mut agent, "capacity_regression", "host")?;
    ensure_contains(&host, &json!({ "lost_bytes": 16 * GIB }))?;
    ensure_contains(
        &host["before"],
        &json!({ "reservation_bytes": 16 * GIB + 2 * MIB, "max_struct_page_size_bytes": 64 }),
    )?;
    ensure_contains(
        &host["after"],
        &json!({ "reservation_bytes": 32 * GIB + 2 * MIB, "max_struct_page_size_bytes": 128 }),
    )?;
    namespace::destroy(&only(&region)?)?;
    let bad = creation::create(&one_gib(&region))?;
    let regressed = regression_event(&mut agent, "capacity_regression", "namespace")?;
    ensure_contains(&regressed, &json!({ "namespace_uuid": bad.namespace_uuid, "lost_bytes": 16 * MIB }))?;
    // What the kernel costs is accepted; the namespace is not.
    let accept = |whose| guard::pfnwatch(&["baseline", "accept", whose, "--reason", "ticket 7"]);
    let said = accept("--host")?;
    ensure!(
        said.code == Some(0) && said.stdout.starts_with("accepted: the new baseline of a namespace of 1 TiB"),
        "{said:?}"
    );
    let accepted = regression_event(&mut agent, "baseline_accepted", "host")?;
    ensure!(accepted.pointer("/by/uid") == Some(&0.into()) && has_text(&accepted, "reason", "ticket 7"), "{accepted}");
    let again = accept("--host")?;
    ensure!(again.code == Some(2) && again.stderr.contains("does not cost more"), "{again:?}");
    agent.kill()?;

    // Another agent knows it, and does not report it again.
    let mut agent = Agent::start(&["--store", STORE])?;
    agent.event("what is there", TIMEOUT, |event| has_text(event, "event", "existing_namespace").then_some(()))?;
    agent.event("the guard", TIMEOUT, |event| has_text(event, "event", "guard_state").then_some(()))?;
    ensure!(agent.events(|event| has_text(event, "event", "capacity_regression")).is_empty(), "{}", agent.output());
    let standing = baseline(3)?;
    let subjects: Vec<_> =
        standing["regressions"].as_array().context("a list")?.iter().map(|it| &it["subject"]).collect();
    ensure!(subjects == ["namespace"], "{standing:#}");
    ensure!(standing["kernels"].as_array().is_some_and(|kernels| kernels.len() == 2), "{standing:#}");

    // The good one does not give the namespace back; a rebuild does.
    let region = machine.exchange()?;
    namespace::destroy(&only(&region)?)?;
    regression_event(&mut agent, "capacity_regression_ended", "namespace")?;
    creation::create(&one_gib(&region))?;
    agent.stop_and_count()?;
    ensure_contains(&baseline(0)?, &json!({ "regressions": [] }))?;
    fs::remove_file(STORE).context("the event store")
}
