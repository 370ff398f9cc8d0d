//! A kernel that is locked down, as with secure boot: integrity changes nothing for the agent, and under confidentiality it says
//! clearly that it cannot observe. Neither is taken back before the next boot: these tests are the last of theirs, in this order.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use guest::agent::PROGRAM;
use guest::command::attempt;
use guest::creation::{self, Map, Mode, Wanted};
use guest::guard::{self, Guard};
use guest::policy::{Policy, Stance};
use guest::{modules, regions};

const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

fn lock_down(level: &str) -> Result<()> {
    fs::write(LOCKDOWN, level).with_context(|| format!("cannot write {level} to {LOCKDOWN}"))?;
    let now = fs::read_to_string(LOCKDOWN)?;
    ensure!(now.contains(&format!("[{level}]")), "{LOCKDOWN} says {now}");
    Ok(())
}

/// The guard denies, on evidence that the kernel's memory was read for, and what it lets pass is observed.
#[test]
fn a_integrity_changes_nothing() -> Result<()> {
    let region = regions::fresh()?.first;
    lock_down("integrity")?;
    let doctor = attempt(PROGRAM, &["doctor", "--enforce"])?;
    ensure!(doctor.code == Some(0), "{doctor:?}");
    let mut agent = Guard::start(&Policy::strict(Stance::Enforce))?;
    let status = guard::status()?;
    ensure!(status["enforcement_effective"] == true, "{status:#}");
    let evidence = status["max_struct_page"]["evidence"].to_string();
    ensure!(evidence.contains("as it runs"), "neither symbols nor code were read: {evidence}");
    let prepared = creation::prepare(&Wanted {
        region,
        size_bytes: 512 << 20,
        mode: Mode::Fsdax,
        map: Map::Dev,
        align_bytes: 2 << 20,
    })?;
    agent.denies(&prepared)?;
    agent.stance(Stance::Audit)?;
    agent.passes(&prepared)?;
    let event = agent.set_up(&prepared.namespace_uuid, "made")?;
    ensure!(event["reservation_bytes"].is_u64(), "{event}");
    agent.tally().map(drop)
}

/// Whether libnvdimm is there or not.
#[test]
fn b_confidentiality_ends_with_4_and_the_remedy() -> Result<()> {
    modules::load_stack()?;
    lock_down("confidentiality")?;
    for loaded in [true, false] {
        if !loaded {
            modules::unload_stack()?;
        }
        for command in ["run", "doctor"] {
            let said = attempt(PROGRAM, &[command])?;
            ensure!(said.code == Some(4), "{command}, libnvdimm loaded {loaded}: {said:?}");
            let text = format!("{}{}", said.stdout, said.stderr);
            for word in ["confidentiality", "lockdown=integrity"] {
                ensure!(text.contains(word), "{command}, libnvdimm loaded {loaded}, says no {word:?}: {said:?}");
            }
        }
    }
    Ok(())
}
