//! Two guards attached at a time, as for a moment in each take-over, and always on a kernel that may skip one: each creation is
//! judged by one of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Result, ensure};
use guest::bpf::{self, OwnerMap, PinnedObjects};
use guest::creation::Mode;
use guest::guard::{self, Guard};
use guest::policy::{GuardMode, Policy};
use guest::{namespace, regions, web};

use super::fixtures::{nothing_is_written, prepare_blank, small};
use super::hold::is_denied;

const CREATIONS: usize = 3;
/// If guards judged by who is active, a creation would slip through well before this number.
const ATTEMPTS: usize = 2_000;

/// Kills the agent of a guard, and keeps the guard attached. Returns its number, too.
fn leave(policy: &Policy) -> Result<(PinnedObjects, u64)> {
    let mut agent = Guard::start(policy)?;
    agent.kill()?;
    Ok((PinnedObjects::guard()?, bpf::pinned_load()?))
}

#[test]
fn each_creation_is_told_and_exempt_once() -> Result<()> {
    let region = regions::fresh()?.first;
    let policy = Policy::strict(GuardMode::Audit).hold_on_exit();
    let (held, _) = leave(&policy)?;
    let mut agent = Guard::start(&policy)?;
    let create = |agent: &mut Guard, passes: bool| -> Result<()> {
        let prepared = prepare_blank(&small(&region, Mode::Fsdax))?;
        if passes {
            agent.passes(&prepared)?
        } else {
            agent.denies(&prepared).map(drop)?
        }
        namespace::destroy(&prepared.namespace)
    };
    for _ in 0..CREATIONS {
        create(&mut agent, true)?;
    }
    agent.stance(GuardMode::Enforce)?;
    // Whoever judged a second time would find the ticket spent, and deny.
    for _ in 0..CREATIONS {
        guard::succeed(&["allow", "--region", &region, "--once", "--reason", "a test"])?;
        create(&mut agent, true)?;
    }
    create(&mut agent, false)?;
    let told = ["would_deny", "exempt"].map(|kind| vec![kind; CREATIONS]).concat();
    agent.judged_only(&[told, vec!["denied"]].concat())?;
    drop(held);
    guard::succeed(&["guard", "release"]).map(drop)
}

/// The owner changes as fast as possible, while the same creation is attempted as fast as possible: whichever guard a
/// thread is in, and whichever is active then, it is denied.
#[test]
fn creations_are_denied_whoever_is_in_charge() -> Result<()> {
    let region = regions::fresh()?.first;
    let policy = Policy::strict(GuardMode::Enforce).hold_on_exit();
    let (held, older) = leave(&policy)?;
    let mut agent = Guard::start(&policy)?;
    let prepared = prepare_blank(&small(&region, Mode::Fsdax))?;
    agent.kill()?;
    let (mut charge, newer) = (OwnerMap::open()?, bpf::pinned_load()?);
    ensure!(newer != older, "the agent has taken over nothing");
    let trying = AtomicBool::new(true);
    thread::scope(|scope| -> Result<()> {
        let changing = scope.spawn(|| -> Result<usize> {
            let mut changes = 0;
            while trying.load(Ordering::Acquire) {
                charge.set([older, newer][changes % 2])?;
                changes += 1;
            }
            Ok(changes)
        });
        let denied = (0..ATTEMPTS).try_for_each(|_| is_denied(&prepared));
        trying.store(false, Ordering::Release);
        let changes = changing.join().unwrap_or_else(|_| anyhow::bail!("the thread panicked"))?;
        denied?;
        ensure!(changes > ATTEMPTS, "the charge changed hands {changes} times");
        Ok(())
    })?;
    // Nor does it take one of them to be in charge: a thread may have met a guard before another came beside it.
    OwnerMap::open()?.set(1)?;
    is_denied(&prepared)?;
    nothing_is_written(&prepared.namespace)?;
    drop(held);
    guard::succeed(&["guard", "release"]).map(drop)
}

/// As on a kernel that skips a program on a CPU where another task was preempted inside it. None of the tested kernels does.
#[test]
fn guard_that_is_attached_twice_judges_each_creation_once() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start_with(&Policy::strict(GuardMode::Enforce), &["--guard-twice"])?;
    let programs = guard::status()?["programs"].clone();
    let is_attached = |name: &str| {
        programs.as_array().is_some_and(|all| all.iter().any(|it| it["program"] == name && it["attached"] == true))
    };
    ensure!(is_attached("guard") && is_attached("guard_spare"), "{programs}");
    let metrics = web::metrics()?;
    for program in ["guard", "guard_spare"] {
        let labels = [("program", program)];
        assert_eq!(web::value(&metrics, "pfnwatch_program_attached", &labels)?, 1, "{program}");
        assert_eq!(web::value(&metrics, "pfnwatch_program_recursion_misses_total", &labels)?, 0, "{program}");
    }
    for _ in 0..CREATIONS {
        let prepared = prepare_blank(&small(&region, Mode::Fsdax))?;
        guard.denies(&prepared)?;
        // Whoever judged a second time would find the exemption spent, and deny.
        guard::succeed(&["allow", "--region", &region, "--once", "--reason", "for one"])?;
        guard.passes(&prepared)?;
        namespace::destroy(&prepared.namespace)?;
    }
    guard.judged_only(&["denied", "exempt"].repeat(CREATIONS))
}
