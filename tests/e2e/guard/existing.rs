//! Existing namespaces, oversize ones too, are always enabled under enforce; what has no memmap on it is nobody's business.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::creation::{self, Map, Mode, PreparedNamespace};
use guest::guard::Guard;
use guest::policy::{GuardMode, Policy};
use guest::{command, modules, namespace, ndctl, regions, sysfs, wait};

use super::fixtures::{MODES, small, wanted};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Oversize to the policy of these tests: two on each NVDIMM, and one with its memmap in DRAM.
fn populate(regions: &regions::Regions) -> Result<Vec<PreparedNamespace>> {
    let mut made = Vec::new();
    for region in [&regions.first, &regions.second] {
        for mode in MODES {
            made.push(creation::create(&small(region, mode))?);
        }
    }
    made.push(creation::create(&wanted(&regions.first, Mode::Devdax, Map::Mem))?);
    Ok(made)
}

/// Waits until each of these namespaces, by its uuid, has a holder with a driver: names change.
fn all_enabled(made: &[PreparedNamespace]) -> Result<()> {
    let enabled = |wanted: &PreparedNamespace| {
        sysfs::devices("namespace").iter().any(|name| {
            sysfs::text(name, "uuid").is_ok_and(|uuid| uuid == wanted.namespace_uuid)
                && namespace::holder(name).is_ok_and(|holder| sysfs::driver(&holder).is_some())
        })
    };
    let all = wait::until("all namespaces enabled", TIMEOUT, || made.iter().all(enabled).then_some(()));
    all.with_context(|| format!("not enabled: {:?}", made.iter().filter(|one| !enabled(one)).collect::<Vec<_>>()))
}

fn still_denies(guard: &mut Guard, region: &str) -> Result<()> {
    let prepared = creation::prepare(&small(region, Mode::Fsdax))?;
    guard.denies(&prepared)?;
    namespace::destroy(&prepared.namespace)
}

#[test]
fn by_ndctl_and_with_their_region() -> Result<()> {
    let regions = regions::fresh()?;
    let made = populate(&regions)?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    for one in &made {
        ndctl::disable(&one.namespace)?;
        ndctl::enable(&one.namespace).with_context(|| guard.output())?;
    }
    all_enabled(&made)?;
    command::run("/bin/ndctl", &["disable-region", "all"])?;
    command::run("/bin/ndctl", &["enable-region", "all"])?;
    all_enabled(&made).with_context(|| guard.output())?;
    still_denies(&mut guard, &regions.first)?;
    guard.judged_only(&["denied"])
}

/// The drivers are loaded automatically, and the whole stack, as at boot: after the agent.
#[test]
fn as_their_drivers_are_loaded_after_the_agent() -> Result<()> {
    let regions = regions::fresh()?;
    let made = populate(&regions)?;
    modules::unload_stack()?;
    let mut guard = Guard::spawn(&Policy::strict(GuardMode::Enforce), &[])?;
    modules::load_stack()?;
    all_enabled(&made).with_context(|| guard.output())?;
    guard.armed()?;
    still_denies(&mut guard, &regions::find()?.second)?;
    // Again, under a guard that had judged.
    modules::unload_stack()?;
    modules::load_stack()?;
    all_enabled(&made).with_context(|| guard.output())?;
    guard.armed()?;
    still_denies(&mut guard, &regions::find()?.first)?;
    guard.judged_only(&["denied", "denied"])
}

/// Only the drivers, the bus stays.
#[test]
fn as_their_drivers_are_loaded_anew() -> Result<()> {
    let regions = regions::fresh()?;
    let made = populate(&regions)?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    for name in regions::namespaces(&regions.legacy)? {
        namespace::disable(&name)?;
    }
    for driver in ["nd_pmem", "dax_pmem"] {
        for holder in sysfs::devices("pfn").iter().chain(&sysfs::devices("dax")) {
            if sysfs::driver(holder).as_deref() == Some(driver) {
                sysfs::unbind(holder)?;
            }
        }
        modules::unload(driver)?;
        modules::load(driver)?;
        all_enabled(&made).with_context(|| guard.output())?;
    }
    still_denies(&mut guard, &regions.first)?;
    guard.judged_only(&["denied"])
}

/// Known to an agent that saw them made, and to the next one by its inventory.
#[test]
fn at_an_agent_that_is_started_again_and_again() -> Result<()> {
    let regions = regions::fresh()?;
    let made = populate(&regions)?;
    for one in &made[..2] {
        namespace::disable(&one.namespace)?;
    }
    for round in 0..4 {
        let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
        for one in &made {
            if namespace::holder(&one.namespace).is_ok() {
                namespace::disable(&one.namespace)?;
            }
            namespace::enable(&one.namespace).with_context(|| format!("round {round}{}", guard.output()))?;
        }
        // Two go disabled into the next round: nothing of them is bound when the inventory is read.
        for one in &made[round..round + 2] {
            namespace::disable(&one.namespace)?;
        }
        guard.was_silent()?;
    }
    Ok(())
}

#[test]
fn raw_sector_and_map_mem_are_not_judged() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    for arguments in [
        ["-m", "raw", "-s", "512M"].as_slice(),
        &["-m", "sector", "-s", "512M"],
        &["-m", "fsdax", "-M", "mem", "-s", "512M"],
        &["-m", "devdax", "-M", "mem", "-s", "512M", "-a", "4K"],
    ] {
        let made = ndctl::create(&region, arguments).with_context(|| format!("{arguments:?}{}", guard.output()))?;
        let dev = ndctl::text(&made, "dev")?;
        ndctl::disable(dev)?;
        ndctl::enable(dev)?;
    }
    let seen = ndctl::ndctl(&["list", "-N"])?;
    ensure!(seen.as_array().is_some_and(|list| list.len() >= 4), "{seen}");
    still_denies(&mut guard, &region)?;
    guard.judged_only(&["denied"])
}
