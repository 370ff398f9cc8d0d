//! A kernel whose list of security modules has no `bpf`: programs load and attach there, and never run. It cannot enforce,
//! and says so; it never audits in silence in place of that.

use anyhow::{Context as _, Result, ensure};
use guest::agent::Agent;
use guest::creation::{self, Map, Mode};
use guest::guard::{self, SOCKET};
use guest::policy::{self, GuardMode, Policy};
use guest::{modules, regions};

use super::fixtures::wanted;

const REMEDY: [&str; 2] = ["bpf", "lsm="];

fn assert_remedy(code: Option<i32>, said: &str) -> Result<()> {
    ensure!(code == Some(4), "it ended with {code:?}: {said}");
    for words in REMEDY {
        ensure!(said.contains(words), "no {words:?}: {said}");
    }
    Ok(())
}

/// Whether or not libnvdimm is loaded: an agent that cannot enforce as configured must not start.
#[test]
fn enforce_ends_with_4_and_the_remedy() -> Result<()> {
    regions::fresh()?;
    Policy::default_audit(GuardMode::Enforce).write()?;
    for loaded in [true, false] {
        if !loaded {
            modules::unload_stack()?;
        }
        let mut agent = Agent::spawn(&["--config", policy::PATH, "--control-socket", SOCKET])?;
        let ended = agent.wait_for_exit().with_context(|| format!("libnvdimm loaded {loaded}"))?;
        assert_remedy(ended.code(), &agent.output()).with_context(|| format!("libnvdimm loaded {loaded}"))?;
    }
    modules::load_stack()
}

#[test]
fn audit_observes_on_and_will_not_be_told_to_enforce() -> Result<()> {
    let region = regions::fresh()?.first;
    Policy::strict(GuardMode::Audit).write()?;
    let mut agent = Agent::start(&["--config", policy::PATH, "--control-socket", SOCKET])?;
    let said = guard::pfnwatch(&["mode", "enforce"])?;
    assert_remedy(said.code, &said.stderr)?;
    let status = guard::status()?;
    ensure!(status["mode"]["mode"] == "audit" && status["enforcement_effective"] == false, "{status:#}");
    let made = creation::create(&wanted(&region, Mode::Fsdax, Map::Dev))?;
    let event = agent.set_up(&made.namespace_uuid, "made")?;
    ensure!(event["verdict"] == "oversize", "it is observed and judged after the fact: {event}");
    agent.stop_and_count().map(drop)
}
