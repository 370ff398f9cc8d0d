//! `on_agent_exit = "hold"`: the guard stays without its agent, is taken over by the next one, and goes when it is told to.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::agent::says;
use guest::bpf::{self, Kind};
use guest::creation::{self, Map, Mode, Prepared};
use guest::guard::{self, Guard};
use guest::policy::{Policy, Stance};
use guest::{modules, namespace, regions, sysfs, wait};
use nix::libc;

use super::case::{MODES, again, nothing_is_written, small, wanted};

const LIMIT: Duration = Duration::from_secs(20);

fn policy() -> Policy {
    Policy::strict(Stance::Enforce).hold()
}

/// Without an agent there is nobody to tell of it.
fn is_denied(prepared: &Prepared) -> Result<()> {
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
    let before = bpf::ids(Kind::Programs)?;
    let existing = creation::create(&small(&region, Mode::Devdax))?;
    let mut agent = Guard::start(&policy())?;
    let prepared = creation::prepare(&wanted(&region, Mode::Fsdax, Map::Dev))?;
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
    wait::until("nothing of the guard left", LIMIT, || bpf::ids(Kind::Programs).ok().filter(|now| *now == before))
        .with_context(|| format!("{before:?} before, {:?} now", bpf::ids(Kind::Programs)))?;
    let pins: Vec<_> = fs::read_dir("/sys/fs/bpf")?.flatten().map(|entry| entry.path()).collect();
    ensure!(pins.is_empty(), "pins are left: {pins:?}");
    Ok(())
}

#[test]
fn agent_that_ends_as_it_was_asked_holds_too() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut agent = Guard::start(&policy())?;
    agent.tally()?;
    let prepared = creation::prepare(&small(&region, Mode::Fsdax))?;
    is_denied(&prepared)?;
    release()?;
    prepared.bind().context("the guard was released")
}

/// The same creation is tried in a tight loop, from the first agent over its death to the second one, its death, and a
/// third.
#[test]
fn next_agent_takes_over_without_a_gap() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut first = Guard::start(&policy())?;
    let prepared = creation::prepare(&small(&region, Mode::Fsdax))?;
    first.denies(&prepared)?;
    let (trying, tries) = (AtomicBool::new(true), AtomicUsize::new(0));
    let mut told = 0;
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
                next.event("the take-over", LIMIT, |event| says(event, "event", "guard_taken_over").then_some(()))?;
                // The socket is for another test: it has to wait while denials flood.
                next.event("an armed guard", LIMIT, |event| {
                    (says(event, "event", "guard_state") && event["armed"] == true).then_some(())
                })?;
                next.event("a denial", LIMIT, |event| says(event, "event", "denied").then_some(()))?;
                next.kill()?;
                told += next.events(|event| says(event, "event", "denied")).len();
            }
            Ok(())
        })();
        trying.store(false, Ordering::Release);
        rival.join().unwrap_or_else(|_| anyhow::bail!("the rival panicked"))?;
        taken_over
    })?;
    let tries = tries.load(Ordering::Acquire);
    ensure!(told > 0 && told <= tries, "{told} denials were told of {tries}");
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
        again(&wanted, &creation::set_aside(&wanted)?)
    });
    let (fsdax, devdax) = (fsdax?, devdax?);
    first.kill()?;
    // Nobody but the kernel's side is there to spend it.
    fsdax.bind().context("it was allowed once")?;
    is_denied(&devdax)?;
    let mut second = Guard::start(&policy())?;
    second.denies(&devdax)?;
    second.tally()?;
    release()
}

/// Nobody tells the guard of the new libnvdimm: it passes what it cannot judge, and the next agent finds what was made.
#[test]
fn libnvdimm_reloaded_while_nobody_is_there() -> Result<()> {
    let region = regions::fresh()?.first;
    let existing = [small(&region, Mode::Fsdax), small(&region, Mode::Devdax)].map(|wanted| creation::create(&wanted));
    let mut first = Guard::start(&policy())?;
    first.kill()?;
    modules::unload_stack()?;
    modules::load_stack()?;
    for made in existing {
        let uuid = made?.namespace_uuid;
        wait::until(&format!("{uuid} enabled"), LIMIT, || {
            let names = sysfs::devices("namespace");
            let name = names.iter().find(|name| sysfs::text(name, "uuid").is_ok_and(|it| it == uuid))?;
            let claimer = namespace::claimer(name).ok()?;
            sysfs::driver(&claimer)
        })?;
    }
    let region = regions::find()?.first;
    let unjudged = creation::create(&small(&region, Mode::Fsdax)).context("nobody can judge it")?;
    let mut second = Guard::start(&policy())?;
    second.event("the namespace that was made meanwhile", LIMIT, |event| {
        let ours = says(event, "namespace_uuid", &unjudged.namespace_uuid) && says(event, "event", "found");
        (ours && says(event, "verdict", "oversize")).then_some(())
    })?;
    second.denies(&creation::prepare(&small(&region, Mode::Devdax))?)?;
    second.tally()?;
    release()
}
