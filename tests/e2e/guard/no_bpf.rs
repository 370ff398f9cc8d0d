//! A kernel whose list of security modules has no `bpf`: programs load and attach there, and never run. It cannot enforce,
//! and says so; it never audits in silence in place of that.

use anyhow::{Result, ensure};
use guest::agent::{Agent, PROGRAM};
use guest::command::attempt;
use guest::creation::{self, Map, Mode};
use guest::guard::{self, SOCKET};
use guest::policy::{self, Policy, Stance};
use guest::regions;

use super::case::wanted;

/// The words that tell an operator what to do.
const REMEDY: [&str; 2] = ["bpf", "lsm="];

fn tells_the_remedy(said: &guest::command::Said) -> Result<()> {
    assert_eq!(said.code, Some(4), "{said:?}");
    for words in REMEDY {
        ensure!(said.stderr.contains(words), "no {words:?}: {said:?}");
    }
    Ok(())
}

#[test]
fn enforce_ends_with_4_and_the_remedy() -> Result<()> {
    regions::fresh()?;
    Policy::usual(Stance::Enforce).write()?;
    tells_the_remedy(&attempt(PROGRAM, &["run", "--config", policy::PATH, "--control-socket", SOCKET])?)
}

#[test]
fn audit_observes_on_and_will_not_be_told_to_enforce() -> Result<()> {
    let region = regions::fresh()?.first;
    Policy::strict(Stance::Audit).write()?;
    let mut agent = Agent::start(&["--config", policy::PATH, "--control-socket", SOCKET])?;
    tells_the_remedy(&guard::tell(&["mode", "enforce"])?)?;
    let status = guard::status()?;
    ensure!(status["mode"]["mode"] == "audit" && status["enforcement_effective"] == false, "{status:#}");
    let made = creation::create(&wanted(&region, Mode::Fsdax, Map::Dev))?;
    let event = agent.set_up(&made.namespace_uuid, "made")?;
    ensure!(event["verdict"] == "oversize", "it is observed and judged after the fact: {event}");
    agent.tally().map(drop)
}
