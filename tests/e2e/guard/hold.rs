//! `on_agent_exit = "hold"`: the guard stays without its agent, is taken over by the next one, and is removed by `guard
//! release`.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context as _, Result, ensure};
use guest::agent::{PROGRAM, has_text};
use guest::bpf::{self, ObjectKind, PINS};
use guest::creation::{self, Map, Mode, PreparedNamespace};
use guest::guard::{self, Guard};
use guest::policy::{self, GuardMode, Policy};
use guest::{modules, namespace, regions, sysfs, wait};
use nix::libc;
use nix::mount::{MsFlags, mount, umount};

use super::fixtures::{MODES, again, nothing_is_written, prepare_blank, small, wanted};
use super::names_swap::swap;

const TIMEOUT: Duration = Duration::from_secs(20);

fn policy() -> Policy {
    Policy::strict(GuardMode::Enforce).hold_on_exit()
}

/// Without an agent the denial is not reported.
pub(super) fn is_denied(prepared: &PreparedNamespace) -> Result<()> {
    let code = prepared.bind().map_err(|error| error.raw_os_error());
    ensure!(code == Err(Some(libc::ENOMEM)), "{prepared:?} is not denied: {code:?}");
    Ok(())
}

fn release() -> Result<()> {
    guard::succeed(&["guard", "release"]).map(drop)
}

#[test]
fn killed_agent_leaves_a_guard_until_it_is_released() -> Result<()> {
    let region = regions::fresh()?.first;
    let before = bpf::ids(ObjectKind::Programs)?;
    let existing = creation::create(&small(&region, Mode::Devdax))?;
    let mut agent = Guard::start(&policy())?;
    let prepared = prepare_blank(&wanted(&region, Mode::Fsdax, Map::Dev))?;
    agent.denies(&prepared)?;
    agent.kill()?;
    is_denied(&prepared)?;
    nothing_is_written(&prepared.namespace)?;
    // What is there is enabled, and what is lean is made.
    namespace::disable(&existing.namespace)?;
    namespace::enable(&existing.namespace)?;
    again(&wanted(&region, Mode::Fsdax, Map::Mem), &prepared.namespace)?.bind().context("map=mem")?;
    let another = creation::prepare(&small(&region, Mode::Devdax))?;
    is_denied(&another)?;
    release()?;
    another.bind().context("the guard was released")?;
    wait::until("nothing of the guard left", TIMEOUT, || {
        bpf::ids(ObjectKind::Programs).ok().filter(|now| *now == before)
    })
    .with_context(|| format!("{before:?} before, {:?} now", bpf::ids(ObjectKind::Programs)))?;
    let pins: Vec<_> = fs::read_dir("/sys/fs/bpf")?.flatten().map(|entry| entry.path()).collect();
    ensure!(pins.is_empty(), "pins are left: {pins:?}");
    Ok(())
}

#[test]
fn agent_that_ends_as_it_was_asked_holds_too() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut agent = Guard::start(&policy())?;
    agent.stop_and_count()?;
    let prepared = creation::prepare(&small(&region, Mode::Fsdax))?;
    is_denied(&prepared)?;
    release()?;
    prepared.bind().context("the guard was released")
}

/// The same creation is attempted in a tight loop, from the first agent over its death to the second one, its death,
/// and a third.
#[test]
fn next_agent_takes_over_without_a_gap() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut first = Guard::start(&policy())?;
    let prepared = prepare_blank(&small(&region, Mode::Fsdax))?;
    first.denies(&prepared)?;
    let (trying, tries) = (AtomicBool::new(true), AtomicUsize::new(0));
    let mut denials = 0;
    thread::scope(|scope| -> Result<()> {
        let rival = scope.spawn(|| -> Result<()> {
            while trying.load(Ordering::Acquire) {
                is_denied(&prepared)?;
                tries.fetch_add(1, Ordering::Release);
            }
            Ok(())
        });
        let taken_over = (|| -> Result<()> {
            first.kill()?;
            for _ in 0..2 {
                let mut next = Guard::spawn(&policy(), &[])?;
                next.event("the take-over", TIMEOUT, |event| {
                    has_text(event, "event", "guard_taken_over").then_some(())
                })?;
                // The socket is for another test: it has to wait while denials flood.
                next.event("an armed guard", TIMEOUT, |event| {
                    (has_text(event, "event", "guard_state") && event["armed"] == true).then_some(())
                })?;
                next.event("a denial", TIMEOUT, |event| has_text(event, "event", "denied").then_some(()))?;
                next.kill()?;
                denials += next.events(|event| has_text(event, "event", "denied")).len();
            }
            Ok(())
        })();
        trying.store(false, Ordering::Release);
        rival.join().unwrap_or_else(|_| anyhow::bail!("the rival panicked"))?;
        taken_over
    })?;
    let tries = tries.load(Ordering::Acquire);
    ensure!(denials > 0 && denials <= tries, "{denials} denials were reported for {tries} tries");
    nothing_is_written(&prepared.namespace)?;
    release()
}

#[test]
fn once_is_not_spent_twice_over_a_take_over() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut first = Guard::start(&policy())?;
    let start = format!("{:#x}", sysfs::number(&region, "resource")?);
    guard::succeed(&["allow", "--region", &start, "--once", "--reason", "a test"])?;
    let [fsdax, devdax] = MODES.map(|mode| {
        let wanted = small(&region, mode);
        again(&wanted, &creation::prepare_empty(&wanted)?)
    });
    let (fsdax, devdax) = (fsdax?, devdax?);
    first.kill()?;
    // Nobody but the kernel's side is there to spend it.
    fsdax.bind().context("it was allowed once")?;
    is_denied(&devdax)?;
    let mut second = Guard::start(&policy())?;
    second.denies(&devdax)?;
    second.stop_and_count()?;
    release()
}

/// The file system of the pins accepts none from the second agent: it ends, and the previous guard stays active.
#[test]
fn failed_take_over_leaves_the_guard_as_it_was() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut first = Guard::start(&policy())?;
    let prepared = creation::prepare(&small(&region, Mode::Fsdax))?;
    first.denies(&prepared)?;
    first.kill()?;
    let pins = fs::read_dir(PINS)?.count();
    read_only(true)?;
    let failed =
        Command::new(PROGRAM).args(["run", "--config", policy::PATH, "--control-socket", guard::SOCKET]).output();
    read_only(false)?;
    let failed = failed?;
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    ensure!(failed.status.code() == Some(4) && said.contains("links-"), "{failed:?}");
    ensure!(fs::read_dir(PINS)?.count() == pins, "pins were added or lost");
    is_denied(&prepared)?;
    let mut third = Guard::start(&policy())?;
    third.denies(&prepared)?;
    third.kill()?;
    is_denied(&prepared)?;
    release()
}

fn read_only(is: bool) -> Result<()> {
    if !is {
        return umount(PINS).context("the pins' folder is not what it was");
    }
    let none: Option<&str> = None;
    mount(Some(PINS), PINS, none, MsFlags::MS_BIND, none)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, PINS, none, flags, none).context("the pins' folder cannot be made read-only")
}

/// A guard with maps of another version shares nothing: the next agent makes its own, and then removes that one.
#[test]
fn guard_of_another_version_is_replaced() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut first = Guard::start(&policy())?;
    let shape = small(&region, Mode::Fsdax);
    let prepared = again(&shape, &creation::prepare_empty(&shape)?)?;
    first.denies(&prepared)?;
    first.kill()?;
    fs::rename(PINS, "/sys/fs/bpf/pfnwatch/v0")?;
    is_denied(&prepared)?;
    let mut second = Guard::start(&policy())?;
    ensure!(!fs::exists("/sys/fs/bpf/pfnwatch/v0")?, "the guard of another version is still there");
    second.denies(&creation::prepare(&small(&region, Mode::Devdax))?)?;
    second.kill()?;
    release()
}

/// Pins that are removed by hand are reported at the next self-test.
#[test]
fn pins_that_are_removed_by_hand_are_missed() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut agent = Guard::start_with(&policy(), &["--prove-every", "2s"])?;
    fs::remove_dir_all(PINS)?;
    agent.event("that the pins are gone", TIMEOUT, |event| {
        let gone = has_text(event, "event", "guard_state") && event["pins"].as_array().is_some_and(Vec::is_empty);
        (gone && event["reason"].to_string().contains("pins are gone")).then_some(())
    })?;
    // The agent itself keeps the programs.
    let prepared = creation::prepare(&small(&region, Mode::Fsdax))?;
    agent.denies(&prepared)?;
    agent.kill()?;
    wait::until("no guard", TIMEOUT, || prepared.bind().ok())
}

/// Exemptions for one creation each, in a loop over the death of one agent and the take-over by the next.
#[test]
fn tickets_are_spent_once_each_over_a_take_over() -> Result<()> {
    const ONE_SHOT_EXEMPTIONS: usize = 12;
    let region = regions::fresh()?.first;
    let mut first = Guard::start(&policy())?;
    for _ in 0..ONE_SHOT_EXEMPTIONS {
        guard::succeed(&["allow", "--region", &region, "--once", "--reason", "one of many"])?;
    }
    let shape = small(&region, Mode::Fsdax);
    let (passed, mut second) = thread::scope(|scope| -> Result<(usize, Guard)> {
        let rival = scope.spawn(|| -> Result<usize> {
            let mut passed = 0;
            loop {
                let prepared = again(&shape, &creation::prepare_empty(&shape)?)?;
                match prepared.bind().map_err(|error| error.raw_os_error()) {
                    Ok(()) => passed += 1,
                    Err(Some(libc::ENOMEM)) => return Ok(passed),
                    Err(code) => anyhow::bail!("{prepared:?}: {code:?}"),
                }
                namespace::destroy(&prepared.namespace)?;
            }
        });
        first.kill()?;
        let second = Guard::start(&policy());
        let passed = rival.join().unwrap_or_else(|_| anyhow::bail!("the rival panicked"))?;
        Ok((passed, second?))
    })?;
    assert_eq!(passed, ONE_SHOT_EXEMPTIONS, "{}", second.output());
    release()
}

/// Nobody updates the guard for the new libnvdimm: it allows what it cannot judge, and the next agent finds what was
/// made.
#[test]
fn libnvdimm_reloaded_while_nobody_is_there() -> Result<()> {
    let region = regions::fresh()?.first;
    let existing = [Mode::Fsdax, Mode::Fsdax, Mode::Devdax].map(|mode| creation::create(&small(&region, mode)));
    let mut first = Guard::start(&policy())?;
    first.kill()?;
    modules::unload_stack()?;
    modules::load_stack()?;
    let enabled = existing.map(|made| {
        let uuid = made?.namespace_uuid;
        wait::until(&format!("{uuid} enabled"), TIMEOUT, || {
            let names = sysfs::devices("namespace");
            let name = names.into_iter().find(|name| sysfs::text(name, "uuid").is_ok_and(|it| it == uuid))?;
            let holder = namespace::holder(&name).ok()?;
            sysfs::driver(&holder).map(|_| name)
        })
    });
    let [first, second, _] = enabled;
    swap(&[first?, second?], 6).context("names swapped under a guard that nobody feeds")?;
    let region = regions::find()?.first;
    let unjudged = creation::create(&small(&region, Mode::Fsdax)).context("nobody can judge it")?;
    let mut second = Guard::start(&policy())?;
    second.event("the namespace that was made meanwhile", TIMEOUT, |event| {
        let ours = has_text(event, "namespace_uuid", &unjudged.namespace_uuid)
            && has_text(event, "event", "existing_namespace");
        (ours && has_text(event, "verdict", "oversize")).then_some(())
    })?;
    second.denies(&creation::prepare(&small(&region, Mode::Devdax))?)?;
    second.stop_and_count()?;
    release()
}
