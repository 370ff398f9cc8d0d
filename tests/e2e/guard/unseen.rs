//! What the guard knows of a namespace ends when another is made in its place, or when its block may be overwritten; what comes
//! with a region is unseen.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::creation::{self, Mode, PreparedNamespace};
use guest::guard::Guard;
use guest::policy::{GuardMode, Policy};
use guest::{namespace, regions, sysfs, wait};

use super::fixtures::{MODES, small};

const TIMEOUT: Duration = Duration::from_secs(10);
const AUTOPROBE: &str = "/sys/bus/nd/drivers_autoprobe";

/// No device of libnvdimm is probed by itself as long as this lives.
struct WithoutAutoprobe;

impl WithoutAutoprobe {
    fn start() -> Result<Self> {
        fs::write(AUTOPROBE, "0").with_context(|| format!("cannot write {AUTOPROBE}"))?;
        Ok(Self)
    }
}

impl Drop for WithoutAutoprobe {
    fn drop(&mut self) {
        // Without it the next test fails.
        let _ = fs::write(AUTOPROBE, "1");
    }
}

/// The region is enabled after the agent has read the inventory, and nothing probes its namespace.
#[test]
fn existing_block_on_a_region_that_came_later_is_enabled_through_a_seed() -> Result<()> {
    for mode in MODES {
        let region = regions::fresh()?.first;
        let wanted = small(&region, mode);
        let made = creation::create(&wanted)?;
        sysfs::unbind(&region)?;
        let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
        {
            let _manual = WithoutAutoprobe::start()?;
            sysfs::bind(&region, "nd_region").with_context(|| format!("cannot enable {region}"))?;
            let is_ours = |name: &String| sysfs::text(name, "uuid").is_ok_and(|uuid| uuid == made.namespace_uuid);
            // The kernel registers devices in threads of its own (nd_async_device_register in drivers/nvdimm/bus.c).
            let find = || sysfs::devices("namespace").into_iter().find(is_ours);
            let namespace = wait::until("the namespace", TIMEOUT, find)?;
            ensure!(sysfs::driver(&namespace).is_none(), "{namespace} was probed");
            let by_hand = creation::claim(&wanted, &namespace, &made.block_uuid)?;
            guard.passes(&by_hand)?;
            guard.judgement("unjudged", &by_hand)?;
            guard.set_up(&made.namespace_uuid, "existing")?;
        }
        // What user space makes on that region is seen.
        guard.denies(&creation::prepare(&small(&region, mode))?)?;
        guard.judged_only(&["unjudged", "denied"])?;
    }
    Ok(())
}

/// The same block uuid again, where the block with it is gone: a creation.
fn is_denied_with_the_old_uuid(guard: &mut Guard, made: &PreparedNamespace, prepared: PreparedNamespace) -> Result<()> {
    sysfs::write(&prepared.holder, "uuid", &made.block_uuid)?;
    guard.denies(&PreparedNamespace { block_uuid: made.block_uuid.clone(), ..prepared }).map(drop)
}

#[test]
fn block_of_a_namespace_that_was_destroyed_through_sysfs_is_forgotten() -> Result<()> {
    let region = regions::fresh()?.first;
    let wanted = small(&region, Mode::Fsdax);
    let made = creation::create(&wanted)?;
    let start = sysfs::number(&made.namespace, "resource")?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    namespace::destroy(&made.namespace)?;
    let prepared = creation::prepare(&wanted)?;
    ensure!(sysfs::number(&prepared.namespace, "resource")? == start, "{prepared:?} is elsewhere");
    is_denied_with_the_old_uuid(&mut guard, &made, prepared)?;
    guard.judged_only(&["denied"])
}

#[test]
fn block_of_a_namespace_that_was_bound_as_sector_is_forgotten() -> Result<()> {
    let region = regions::fresh()?.first;
    let wanted = small(&region, Mode::Fsdax);
    let made = creation::create(&wanted)?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    namespace::disable(&made.namespace)?;
    let btt = sysfs::seed(&region, "btt_seed")?;
    let uuid = creation::new_uuid()?;
    for (attribute, value) in [("uuid", uuid.as_str()), ("sector_size", "4096"), ("namespace", &made.namespace)] {
        sysfs::write(&btt, attribute, value)?;
    }
    sysfs::bind(&btt, "nd_pmem").with_context(|| format!("{btt} is not bound{}", guard.output()))?;
    namespace::disable(&made.namespace)?;
    let prepared = creation::claim(&wanted, &made.namespace, &creation::new_uuid()?)?;
    is_denied_with_the_old_uuid(&mut guard, &made, prepared)?;
    guard.judged_only(&["denied"])
}
