//! What the guard knows of a namespace ends when another is made in its place, or when its block may be overwritten; what comes
//! with a region is unseen.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::creation::{self, Mode, PreparedNamespace};
use guest::guard::Guard;
use guest::infoblock::{self, InfoBlock};
use guest::policy::{GuardMode, Policy};
use guest::{namespace, regions, sysfs, wait};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::fixtures::{MODES, again, rewrite_block, small};
use super::hold::is_denied;

const TIMEOUT: Duration = Duration::from_secs(10);
const AUTOPROBE: &str = "/sys/bus/nd/drivers_autoprobe";
/// 0 disarms all kprobes of the kernel, 1 arms them again.
const KPROBES: &str = "/sys/kernel/debug/kprobes/enabled";

/// Does something while kprobes are off. The agent needs longer to notice.
fn without_kprobes<T>(act: impl FnOnce() -> Result<T>) -> Result<T> {
    fs::write(KPROBES, "0").with_context(|| format!("cannot write {KPROBES}"))?;
    let done = act();
    fs::write(KPROBES, "1").with_context(|| format!("cannot write {KPROBES}"))?;
    done
}

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

/// Waits for the namespace with this uuid, which must not be probed.
fn unprobed(uuid: &str) -> Result<String> {
    let is_ours = |name: &String| sysfs::text(name, "uuid").is_ok_and(|found| found == uuid);
    // The kernel registers devices in threads of its own (nd_async_device_register in drivers/nvdimm/bus.c).
    let find = || sysfs::devices("namespace").into_iter().find(is_ours);
    let namespace = wait::until("the namespace", TIMEOUT, find)?;
    ensure!(sysfs::driver(&namespace).is_none(), "{namespace} was probed");
    Ok(namespace)
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
            let namespace = unprobed(&made.namespace_uuid)?;
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

/// Writes an info block over the one of a namespace whose region is disabled. The kernel does not let /dev/mem be written beyond its
/// own memory, but mapped.
fn put_block(start: u64, block: &InfoBlock) -> Result<()> {
    let memory = File::options().read(true).write(true).open("/dev/mem").context("cannot open /dev/mem")?;
    let length = NonZeroUsize::new(block.bytes().len()).context("the block is empty")?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let at = i64::try_from(start + infoblock::OFFSET)?;
    // SAFETY: a new mapping, of memory that no driver has by now, and which is gone when this returns. It is written within its length.
    unsafe {
        let mapped = mmap(None, length, access, MapFlags::MAP_SHARED, &memory, at).context("cannot map /dev/mem")?;
        mapped.cast::<u8>().copy_from_nonoverlapping(NonNull::from(block.bytes()).cast(), length.get());
        munmap(mapped, length.get()).context("cannot unmap /dev/mem")
    }
}

/// What is known of a region's namespaces ends when it is enabled again: here another block lies there by then, which nothing probes.
#[test]
fn existing_block_on_a_region_that_was_enabled_again_is_enabled_through_a_seed() -> Result<()> {
    let region = regions::fresh()?.first;
    let wanted = small(&region, Mode::Fsdax);
    let first = creation::create(&wanted)?;
    let start = sysfs::number(&first.namespace, "resource")?;
    let first_block = InfoBlock::read(&first.namespace)?;
    namespace::disable(&first.namespace)?;
    again(&wanted, &first.namespace)?.bind().context("another block")?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    sysfs::unbind(&region)?;
    put_block(start, &first_block)?;
    {
        let _manual = WithoutAutoprobe::start()?;
        sysfs::bind(&region, "nd_region").with_context(|| format!("cannot enable {region}"))?;
        let namespace = unprobed(&first.namespace_uuid)?;
        let by_hand = creation::claim(&wanted, &namespace, &first.block_uuid)?;
        guard.passes(&by_hand)?;
        guard.judgement("unjudged", &by_hand)?;
        guard.set_up(&first.namespace_uuid, "existing")?;
    }
    // What is probed is known at once.
    sysfs::unbind(&region)?;
    sysfs::bind(&region, "nd_region").with_context(|| format!("cannot enable {region}"))?;
    let is_ours = |name: &String| sysfs::text(name, "uuid").is_ok_and(|uuid| uuid == first.namespace_uuid);
    let enabled = |name: &String| sysfs::holder(name).ok().flatten().is_some_and(|it| sysfs::driver(&it).is_some());
    let find = || sysfs::devices("namespace").into_iter().find(|name| is_ours(name) && enabled(name));
    let namespace = wait::until("the enabled namespace", TIMEOUT, find)?;
    namespace::disable(&namespace)?;
    guard.denies(&again(&wanted, &namespace)?)?;
    guard.judged_only(&["unjudged", "denied"])
}

/// What is bound while kprobes are off is not seen to begin, and the agent has not noticed that yet: here another block is written
/// meanwhile.
#[test]
fn existing_block_that_was_written_while_kprobes_were_off_is_enabled_through_a_seed() -> Result<()> {
    for mode in MODES {
        let region = regions::fresh()?.first;
        let wanted = small(&region, mode);
        let made = creation::create(&wanted)?;
        let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
        let first = u8::from_str_radix(made.block_uuid.get(..2).context("no uuid")?, 16)? ^ 1;
        let uuid = format!("{first:02x}{}", made.block_uuid.get(2..).context("no uuid")?);
        without_kprobes(|| {
            rewrite_block(&made.namespace, |block| block.uuid[0] ^= 1)?;
            let by_hand = creation::claim(&wanted, &made.namespace, &uuid)?;
            by_hand.bind().with_context(|| format!("an existing block is refused{}", guard.output()))
        })?;
        guard.judgement("unjudged", &PreparedNamespace { block_uuid: uuid, ..made })?;
        // What is seen is judged, and so is each further attempt, although a refused bind has no beginning either.
        let denied = creation::prepare(&small(&region, mode))?;
        guard.denies(&denied)?;
        without_kprobes(|| is_denied(&denied))?;
        is_denied(&denied)?;
        guard.judged_only(&["unjudged", "denied", "denied", "denied"])?;
    }
    Ok(())
}

/// A region that is enabled while kprobes are off may come with other blocks.
#[test]
fn existing_block_on_a_region_that_was_enabled_while_kprobes_were_off_is_enabled_through_a_seed() -> Result<()> {
    let region = regions::fresh()?.first;
    let wanted = small(&region, Mode::Fsdax);
    let first = creation::create(&wanted)?;
    let start = sysfs::number(&first.namespace, "resource")?;
    let first_block = InfoBlock::read(&first.namespace)?;
    namespace::disable(&first.namespace)?;
    again(&wanted, &first.namespace)?.bind().context("another block")?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    sysfs::unbind(&region)?;
    put_block(start, &first_block)?;
    let _manual = WithoutAutoprobe::start()?;
    without_kprobes(|| sysfs::bind(&region, "nd_region").with_context(|| format!("cannot enable {region}")))?;
    let by_hand = creation::claim(&wanted, &unprobed(&first.namespace_uuid)?, &first.block_uuid)?;
    guard.passes(&by_hand)?;
    guard.judgement("unjudged", &by_hand)?;
    guard.set_up(&first.namespace_uuid, "existing")?;
    guard.judged_only(&["unjudged"])
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
