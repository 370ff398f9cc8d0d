//! The guard's hook is called for every node of sysfs and of cgroups: none of them is its business.

use anyhow::{Result, ensure};
use guest::creation::{self, Mode};
use guest::guard::{self, Guard};
use guest::policy::{GuardMode, Policy};
use guest::{modules, namespace, regions, sysfs_load};

use super::fixtures::small;

const CGROUPS: usize = 10_000;

#[test]
fn of_cgroups_network_devices_loop_devices_and_drivers() -> Result<()> {
    let region = regions::fresh()?.first;
    let existing = creation::create(&small(&region, Mode::Fsdax))?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    sysfs_load::cgroups(CGROUPS)?;
    sysfs_load::network_namespaces(100)?;
    sysfs_load::network_devices(100)?;
    sysfs_load::loop_devices(50)?;
    // The nd bus's own drivers, which bind regions and DIMMs.
    modules::unload_stack()?;
    modules::load_stack()?;
    guard.armed()?;
    ensure!(guard::status()?["enforcement_effective"] == true, "{}", guard::status()?);
    let region = regions::find()?.first;
    let prepared = creation::prepare(&small(&region, Mode::Devdax))?;
    guard.denies(&prepared)?;
    ensure!(regions::namespaces(&region)?.len() == 2, "{existing:?} is gone");
    namespace::destroy(&prepared.namespace)?;
    guard.judged_only(&["denied"])
}
