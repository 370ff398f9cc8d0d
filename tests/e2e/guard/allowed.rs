//! The ways in which an oversize creation passes: another mode, an exemption, once.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use guest::agent::has_text;
use guest::creation::{self, Map, PreparedNamespace};
use guest::guard::{self, Guard};
use guest::policy::{GuardMode, Policy};
use guest::{infoblock, modules, namespace, regions, sysfs, wait};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

use super::fixtures::{MODES, again, blank, wanted};

const RACES: usize = 3;
const TIMEOUT: Duration = Duration::from_secs(20);

/// Creates the namespace with map=dev, which must be allowed, and destroys it.
fn passes(guard: &mut Guard, region: &str) -> Result<PreparedNamespace> {
    let prepared = creation::prepare(&wanted(region, MODES[0], Map::Dev))?;
    guard.passes(&prepared)?;
    namespace::destroy(&prepared.namespace)?;
    Ok(prepared)
}

fn denied(guard: &mut Guard, region: &str) -> Result<()> {
    let prepared = creation::prepare(&wanted(region, MODES[1], Map::Dev))?;
    guard.denies(&prepared)?;
    namespace::destroy(&prepared.namespace)
}

#[test]
fn by_mode_audit_until_mode_enforce() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let prepared = creation::prepare(&wanted(&region, MODES[0], Map::Dev))?;
    guard.denies(&prepared)?;
    guard.stance(GuardMode::Audit)?;
    // The very same device, which the denial has left as it was.
    guard.passes(&prepared)?;
    guard.judgement("would_deny", &prepared)?;
    guard.stance(GuardMode::Enforce)?;
    denied(&mut guard, &region)?;
    let changes = guard.events(|event| has_text(event, "event", "mode_changed"));
    assert_eq!(changes.len(), 2, "{changes:#?}");
    ensure!(changes.iter().all(|change| change["by"].is_object()), "who changed it: {changes:#?}");
    guard.judged_only(&["denied", "would_deny", "denied"])
}

#[test]
fn once_by_region() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    guard::succeed(&["allow", "--region", &region, "--once", "--reason", "a test"])?;
    let prepared = passes(&mut guard, &region)?;
    let exempt = guard.judgement("exempt", &prepared)?;
    ensure!(exempt["exemption"].to_string().contains("a test"), "the reason: {exempt}");
    denied(&mut guard, &region)?;
    denied(&mut guard, &region)?;
    guard.judged_only(&["exempt", "denied", "denied"])
}

/// libnvdimm is loaded before its regions appear, and the agent scans in between.
#[test]
fn by_region_that_was_found_after_the_look() -> Result<()> {
    regions::fresh()?;
    modules::unload_stack()?;
    modules::load("libnvdimm")?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    modules::load_stack()?;
    let region = regions::find()?.first;
    guard::succeed(&["allow", "--region", &region, "--once", "--reason", "a test"])?;
    passes(&mut guard, &region)?;
    denied(&mut guard, &region)?;
    guard.judged_only(&["exempt", "denied"])
}

#[test]
fn once_by_namespace_uuid() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let wanted_one = wanted(&region, MODES[1], Map::Dev);
    let prepared = again(&wanted_one, &creation::prepare_empty(&wanted_one)?)?;
    guard::succeed(&["allow", "--uuid", &prepared.namespace_uuid, "--once", "--reason", "a test"])?;
    // Another namespace does not spend it.
    let other = wanted(&region, MODES[0], Map::Dev);
    guard.denies(&again(&other, &creation::prepare_empty(&other)?)?)?;
    guard.passes(&prepared)?;
    namespace::disable(&prepared.namespace)?;
    infoblock::raw(&prepared.namespace, blank)?;
    let second = again(&wanted_one, &prepared.namespace)?;
    guard.denies(&second)?;
    guard.judged_only(&["denied", "exempt", "denied"])
}

#[test]
fn once_is_spent_by_one_of_two_at_once() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    for _ in 0..RACES {
        guard::succeed(&["allow", "--region", &region, "--once", "--reason", "for one"])?;
        // Two devices with a driver each: the kernel has no lock that both need.
        let [first, second] = MODES.map(|mode| {
            let wanted = wanted(&region, mode, Map::Dev);
            again(&wanted, &creation::prepare_empty(&wanted)?)
        });
        let rivals = [first?, second?];
        let outcomes = thread::scope(|scope| {
            let started = rivals.each_ref().map(|rival| scope.spawn(|| rival.bind().is_ok()));
            started.map(|rival| rival.join().unwrap_or(false))
        });
        ensure!(outcomes[0] != outcomes[1], "one of two passes: {outcomes:?}{}", guard.output());
        for rival in rivals {
            namespace::destroy(&rival.namespace)?;
        }
    }
    guard.judged_only(&["exempt", "denied"].repeat(RACES))
}

/// It fails for a reason of the kernel's own after the guard allowed it: the exemption is spent once.
#[test]
fn once_is_spent_by_a_creation_that_fails_later() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    guard::succeed(&["allow", "--region", &region, "--once", "--reason", "for one"])?;
    let prepared = creation::prepare(&wanted(&region, MODES[0], Map::Dev))?;
    // Another driver has a piece of the reservation: EBUSY, before anything is written. With map=dev the kernel takes the range of the
    // whole reservation, to clear errors in it, after the guard's answer and before it writes the block (`nd_pfn_clear_memmap_errors`,
    // drivers/nvdimm/pfn_devs.c, since 5.3).
    prepared.bind_while_held(1 << 20)?;
    guard.denies(&prepared)?;
    guard.judged_only(&["exempt", "denied"])
}

/// By hand, or by a broken clock.
fn set_clock_back(by: Duration) -> Result<()> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    clock_settime(ClockId::CLOCK_REALTIME, now - TimeSpec::from_duration(by)).context("cannot set the clock")
}

/// The clock is set back meanwhile: no exemption lasts longer for that.
#[test]
fn for_a_while_and_no_longer() -> Result<()> {
    const WHILE: Duration = Duration::from_secs(8);
    let regions = regions::fresh()?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let begun = Instant::now();
    guard::succeed(&["allow", "--region", &regions.first, "--for", "8s", "--reason", "a test"])?;
    set_clock_back(Duration::from_secs(3600))?;
    passes(&mut guard, &regions.first)?;
    passes(&mut guard, &regions.first)?;
    ensure!(begun.elapsed() < WHILE, "this machine is too slow for the test");
    denied(&mut guard, &regions.second)?;
    sleep(WHILE.saturating_sub(begun.elapsed()) + Duration::from_secs(1));
    denied(&mut guard, &regions.first)?;
    guard.judged_only(&["exempt", "exempt", "denied", "denied"])
}

/// By a reloaded configuration: the region by its address, the namespace by its uuid.
#[test]
fn by_the_configuration() -> Result<()> {
    let regions = regions::fresh()?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let prepared = creation::prepare(&wanted(&regions.first, MODES[0], Map::Dev))?;
    guard.denies(&prepared)?;
    let start = sysfs::number(&regions.second, "resource")?;
    let before = guard::status()?["policy"]["number"].clone();
    Policy::strict(GuardMode::Enforce).exempt_region(start).exempt_namespace(&prepared.namespace_uuid).write()?;
    guard.signal(Signal::SIGHUP)?;
    wait::until("another policy", TIMEOUT, || {
        guard::status().ok().filter(|status| status["policy"]["number"] != before)
    })?;
    guard.passes(&prepared)?;
    passes(&mut guard, &regions.second)?;
    denied(&mut guard, &regions.first)?;
    guard.judged_only(&["denied", "exempt", "exempt", "denied"])
}
