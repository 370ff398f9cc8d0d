//! A guard that holds on without an agent: taken over from the agent before, and left for the one to come.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use aya::programs::loaded_programs;

use super::attach::Links;
use super::guard::GuardMaps;
use super::pins::Pins;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExit {
    Detach,
    Pinned,
}

/// Makes a load active in one step, and only then detaches the previous load: until then both guard. Returns whether
/// there was one.
///
/// # Errors
/// If it cannot be pinned, the previous load stays active.
pub fn take_over(
    maps: &mut GuardMaps,
    links: &mut Links,
    guard: u64,
    pins: &Pins,
    stay: OnExit,
) -> anyhow::Result<bool> {
    let before = maps.owner()?;
    if stay == OnExit::Pinned {
        links.pin(pins, guard)?;
    }
    maps.set_owner(guard)?;
    match stay {
        OnExit::Pinned => pins.remove_all_but(guard)?,
        OnExit::Detach => pins.remove_this_version()?,
    }
    Ok(before != 0)
}

/// How long the kernel may take to detach what is no longer pinned.
const DETACH_TIMEOUT: Duration = Duration::from_secs(10);

/// Detaches a guard without an agent. Returns the removed paths once the programs have left the kernel: it detaches
/// them some time after their pins are removed, in a worker (`bpf_link_put`, kernel/bpf/syscall.c).
pub fn release(pins: &Pins) -> anyhow::Result<Vec<PathBuf>> {
    let programs = pins.programs()?;
    let removed = pins.remove()?;
    let asked = Instant::now();
    while let Some(program) = loaded_programs().flatten().map(|it| it.id()).find(|id| programs.contains(id)) {
        anyhow::ensure!(
            asked.elapsed() < DETACH_TIMEOUT,
            "the pins are removed, but something else keeps program {program} of the guard, which still guards: \
             `bpftool prog show id {program}` names the processes that do"
        );
        sleep(Duration::from_millis(2));
    }
    Ok(removed)
}
