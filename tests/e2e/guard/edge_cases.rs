//! What looks like a creation and is none, and what is one and does not look like it.

use anyhow::{Context as _, Result, ensure};
use guest::churn::Churn;
use guest::creation::{self, Map, Mode, PreparedNamespace, new_uuid};
use guest::guard::Guard;
use guest::infoblock::{InfoBlock, raw};
use guest::policy::{GuardMode, Policy};
use guest::{namespace, regions, sysfs};
use nix::libc;

use super::fixtures::{MODES, again, small, wanted};

const REBINDS: usize = 50;
/// Both: what is allowed under enforce must not be reported as a would-deny in audit either.
const STANCES: [GuardMode; 2] = [GuardMode::Enforce, GuardMode::Audit];

/// A device that is no seed: an existing namespace's own, configured to make another block. The old one stays.
#[test]
fn another_uuid_on_a_device_that_is_no_seed_is_a_creation() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    for mode in MODES {
        let made = creation::create(&wanted(&region, mode, Map::Mem))?;
        ensure!(!seeds(&region)?.contains(&made.holder), "{made:?} is still a seed");
        sysfs::unbind(&made.holder)?;
        sysfs::write(&made.holder, "mode", "pmem")?;
        let other = PreparedNamespace { block_uuid: new_uuid()?, ..made.clone() };
        sysfs::write(&made.holder, "uuid", &other.block_uuid)?;
        guard.denies(&other)?;
        // As it was before, it is what it was.
        sysfs::write(&made.holder, "mode", "ram")?;
        sysfs::write(&made.holder, "uuid", &made.block_uuid)?;
        guard.passes(&made)?;
        assert_eq!(InfoBlock::read(&made.namespace)?.uuid(), made.block_uuid);
    }
    guard.judged_only(&["denied", "denied"])
}

fn seeds(region: &str) -> Result<Vec<String>> {
    ["pfn_seed", "dax_seed"].iter().map(|seed| sysfs::text(region, seed)).collect()
}

fn rebind(made: &[PreparedNamespace], times: usize) -> Result<()> {
    let _churn = Churn::start()?;
    for time in 0..times {
        for one in made {
            let holder = namespace::holder(&one.namespace)?;
            sysfs::unbind(&holder)?;
            sysfs::bind(&holder, one.driver).with_context(|| format!("time {time}: {holder} of {one:?}"))?;
        }
    }
    Ok(())
}

/// The kernel keeps a pointer to memory that it has freed (`pfn_sb`): a program that trusts it sees another uuid now
/// and then.
#[test]
fn plain_unbind_and_bind_while_memory_is_in_motion() -> Result<()> {
    let region = regions::fresh()?.first;
    let before = MODES.map(|mode| creation::create(&small(&region, mode)));
    let [fsdax, devdax] = before;
    // Enabled by the kernel, and by the device through which it was made.
    let mut made = vec![fsdax?, devdax?];
    namespace::disable(&made[0].namespace)?;
    namespace::enable(&made[0].namespace)?;
    for stance in STANCES {
        let mut guard = Guard::start(&Policy::strict(stance))?;
        rebind(&made, REBINDS / 4).with_context(|| guard.output())?;
        // Made while this agent observes: allowed by an exemption, and then a namespace like any other.
        guard.stance(GuardMode::Audit)?;
        let young = creation::create(&small(&region, Mode::Fsdax))?;
        guard.stance(stance)?;
        rebind(std::slice::from_ref(&young), REBINDS / 4).with_context(|| guard.output())?;
        made.push(young);
        guard.judged_only(&["would_deny"])?;
    }
    Ok(())
}

/// By hand, through the region's seed, with an existing block on the media.
#[test]
fn existing_block_enabled_through_a_seed_with_its_own_uuid() -> Result<()> {
    let region = regions::fresh()?.first;
    for stance in STANCES {
        for mode in MODES {
            let wanted = small(&region, mode);
            let made = creation::create(&wanted)?;
            let mut guard = Guard::start(&Policy::strict(stance))?;
            namespace::disable(&made.namespace)?;
            let by_hand = creation::claim(&wanted, &made.namespace, &made.block_uuid)?;
            guard.passes(&by_hand)?;
            guard.set_up(&made.namespace_uuid, "existing")?;
            guard.was_silent()?;
        }
    }
    Ok(())
}

/// Disabled when the agent started, which therefore has not seen its block. It must be allowed, and reported as an
/// existing block.
#[test]
fn block_that_the_agent_never_saw_enabled_through_a_seed() -> Result<()> {
    let region = regions::fresh()?.first;
    let wanted = small(&region, Mode::Fsdax);
    let made = creation::create(&wanted)?;
    namespace::disable(&made.namespace)?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let by_hand = creation::claim(&wanted, &made.namespace, &made.block_uuid)?;
    guard.passes(&by_hand)?;
    guard.set_up(&made.namespace_uuid, "existing").map(drop)
}

/// The kernel refuses settings that do not fit the block on the media, and writes nothing: that is no creation.
#[test]
fn another_align_with_the_same_uuid_is_refused_by_the_kernel_itself() -> Result<()> {
    let region = regions::fresh()?.first;
    for stance in STANCES {
        let mut made = small(&region, Mode::Devdax);
        let old = {
            let mut guard = Guard::start(&Policy::strict(GuardMode::Audit))?;
            let old = creation::create(&made)?;
            guard.stance(stance)?;
            namespace::disable(&old.namespace)?;
            made.align_bytes = 2 << 20;
            let other = creation::claim(&made, &old.namespace, &old.block_uuid)?;
            let code = other.bind().map_err(|error| error.raw_os_error());
            ensure!(
                matches!(code, Err(Some(libc::EOPNOTSUPP | libc::EINVAL))),
                "{stance:?}: {code:?} is not the kernel's own refusal{}",
                guard.output()
            );
            // The one is the creation in audit above.
            guard.judged_only(&["would_deny"])?;
            old
        };
        assert_eq!(raw(&old.namespace, InfoBlock::of)?.uuid(), old.block_uuid);
        namespace::enable(&old.namespace)?;
    }
    Ok(())
}

/// Another map with the same uuid: refused by the kernel too, with an error of its own.
#[test]
fn another_map_with_the_same_uuid_writes_nothing() -> Result<()> {
    let region = regions::fresh()?.first;
    let lean = wanted(&region, Mode::Fsdax, Map::Mem);
    let made = creation::create(&lean)?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    namespace::disable(&made.namespace)?;
    let other = creation::claim(&wanted(&region, Mode::Fsdax, Map::Dev), &made.namespace, &made.block_uuid)?;
    ensure!(other.bind().is_err(), "map=dev on a block with map=mem");
    let block = raw(&made.namespace, InfoBlock::of)?;
    assert_eq!((block.uuid(), block.mode()), (made.block_uuid.clone(), 1));
    // Known, and not judged; a new uuid on it is another matter.
    let new = again(&wanted(&region, Mode::Fsdax, Map::Dev), &made.namespace)?;
    guard.denies(&new)?;
    guard.judged_only(&["denied"])
}
