//! Every way to bind a device comes by the guard: by its name, by the bus, by a driver that is loaded, by many at once,
//! out of a container.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Barrier;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context as _, Result, ensure};
use guest::agent::has_text;
use guest::creation::{Map, Mode, PreparedNamespace};
use guest::guard::Guard;
use guest::policy::{GuardMode, Policy};
use guest::{modules, namespace, regions, sysfs};
use nix::sched::{CloneFlags, unshare};

use super::fixtures::{MODES, count, nothing_is_written, prepare_blank, small, wanted};

const TIMEOUT: Duration = Duration::from_secs(20);
const DRIVERS_PROBE: &str = "/sys/bus/nd/drivers_probe";

/// Waits for so many denials of this block.
fn denials(guard: &mut Guard, prepared: &PreparedNamespace, count: usize) -> Result<()> {
    let ours = |event: &_| has_text(event, "event", "denied") && has_text(event, "block_uuid", &prepared.block_uuid);
    let told = guard.collect(&format!("{count} denials of {prepared:?}"), count, TIMEOUT, ours)?;
    assert_eq!(told.len(), count, "{told:#?}");
    ensure!(sysfs::driver(&prepared.holder).is_none(), "{prepared:?} is bound");
    Ok(())
}

/// A device that user space set up and the guard denied stays set up: every later attempt to bind it passes the guard.
#[test]
fn by_the_bus_and_by_a_driver_that_is_loaded() -> Result<()> {
    let regions = regions::fresh()?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    // The e820 namespace is bound to nd_pmem, which could not go.
    for name in regions::namespaces(&regions.legacy)? {
        namespace::disable(&name)?;
    }
    for (mode, driver) in MODES.into_iter().zip(["nd_pmem", "dax_pmem"]) {
        let prepared = prepare_blank(&wanted(&regions.first, mode, Map::Dev))?;
        guard.denies(&prepared)?;
        // The kernel does not return the outcome here.
        let _ = fs::write(DRIVERS_PROBE, &prepared.holder);
        denials(&mut guard, &prepared, 2)?;
        modules::unload(driver)?;
        modules::load(driver)?;
        denials(&mut guard, &prepared, 3)?;
        nothing_is_written(&prepared.namespace)?;
    }
    guard.judged_only(&["denied"; 6])
}

#[test]
fn by_two_at_once() -> Result<()> {
    const TIMES: usize = 10;
    let regions = regions::fresh()?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let [first, second] =
        [(&regions.first, Mode::Fsdax), (&regions.second, Mode::Devdax)].map(|(region, mode)| small(region, mode));
    let rivals = [prepare_blank(&first)?, prepare_blank(&second)?];
    let barrier = Barrier::new(rivals.len());
    let bound = thread::scope(|scope| {
        let started = rivals.each_ref().map(|rival| {
            scope.spawn(|| {
                let attempt = |_| {
                    barrier.wait();
                    rival.bind().is_ok()
                };
                (0..TIMES).map(attempt).filter(|bound| *bound).count()
            })
        });
        started.map(|rival| rival.join().unwrap_or(usize::MAX))
    });
    assert_eq!(bound, [0, 0], "{}", guard.output());
    for rival in &rivals {
        denials(&mut guard, rival, TIMES)?;
        nothing_is_written(&rival.namespace)?;
    }
    guard.judged_only(&["denied"; 2 * TIMES])
}

/// ndctl in namespaces of its own, with and without a user namespace: the device is the same.
#[test]
fn from_within_a_container() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let container = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWCGROUP;
    for flags in [container, container | CloneFlags::CLONE_NEWUSER] {
        let mut ndctl = Command::new("/bin/ndctl");
        ndctl.args(["create-namespace", "-r", &region, "-m", "fsdax", "-M", "dev", "-s", "512M", "-a", "2M"]);
        // SAFETY: unshare is one system call, and neither allocates nor takes a lock.
        unsafe { ndctl.pre_exec(move || Ok(unshare(flags)?)) };
        let said = ndctl.output().with_context(|| format!("ndctl in {flags:?}"))?;
        ensure!(!said.status.success(), "{flags:?}: {said:?}");
        assert_eq!(count(&region)?, 0, "{flags:?}: {said:?}");
    }
    let told = guard.judgements_at_least(2)?;
    ensure!(told.iter().all(|event| event["by"]["comm"] == "ndctl"), "who asked: {told:#?}");
    guard.judged_only(&["denied", "denied"])
}
