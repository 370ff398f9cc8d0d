//! A guard that holds on without an agent: taken over from the agent before, and left for the one to come.

use std::{
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use aya::programs::loaded_programs;

use super::{attach::Links, guard::GuardMaps, pins::Pins};

/// What becomes of the programs when the agent goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExit {
    /// They go with it.
    Detach,
    /// They stay, pinned.
    Pinned,
}

/// Puts a load of the programs in charge in one step, and only then takes away the load before it: both guard until then.
/// Gives whether there was one.
///
/// # Errors
/// It cannot be pinned: the load before is in charge as it was.
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

/// For so long the kernel is given to detach what is not pinned any more.
const DETACH_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes away a guard that no agent feeds. Gives the paths of what was removed once the programs have left the kernel:
/// it detaches them some time after their pins are removed, in a worker of its own (`bpf_link_put`, kernel/bpf/syscall.c).
///
/// # Errors
/// The pins cannot be removed, or something else holds a program.
pub fn release(pins: &Pins) -> anyhow::Result<Vec<PathBuf>> {
    let programs = pins.programs()?;
    let removed = pins.remove()?;
    let asked = Instant::now();
    while let Some(program) = loaded_programs().flatten().map(|it| it.id()).find(|id| programs.contains(id)) {
        anyhow::ensure!(
            asked.elapsed() < DETACH_TIMEOUT,
            "the pins are removed, but something else holds program {program} of the guard, which guards on: \
             `bpftool prog show id {program}` names the processes that do"
        );
        sleep(Duration::from_millis(2));
    }
    Ok(removed)
}
