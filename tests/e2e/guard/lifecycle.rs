//! The guard while the agent starts, is reconfigured, is stopped, and ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use guest::agent::{Agent, has_text};
use guest::creation::{self, Map, Mode};
use guest::guard::{self, Guard, SOCKET};
use guest::policy::{self, GuardMode, Policy};
use guest::{modules, namespace, regions, sysfs, web};
use nix::libc;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::fixtures::{nothing_is_written, small, wanted};

const TIMEOUT: Duration = Duration::from_secs(20);
const SETTLE_TIME: Duration = Duration::from_millis(500);
/// How often the mode, or the policy, changes.
const CHANGES: usize = 1000;

#[test]
fn killed_agent_takes_its_guard_along() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let prepared = creation::prepare(&wanted(&region, Mode::Fsdax, Map::Dev))?;
    guard.denies(&prepared)?;
    guard.kill()?;
    prepared.bind().context("the guard is still there")
}

/// From before the agent is up until it denies, repeatedly: whatever was allowed is reported, as a set-up or as found.
#[test]
fn no_creation_at_the_agents_start_goes_untold() -> Result<()> {
    let regions = regions::fresh()?;
    Policy::strict(GuardMode::Enforce).write()?;
    // One of before the agent.
    let mut passed = vec![creation::create(&small(&regions.first, Mode::Fsdax))?];
    let mut agent = Agent::spawn(&["--config", policy::PATH, "--control-socket", SOCKET])?;
    let begun = Instant::now();
    for region in [&regions.first, &regions.second].into_iter().cycle() {
        let prepared = creation::prepare(&small(region, Mode::Fsdax))?;
        match prepared.bind() {
            Ok(()) => passed.push(prepared),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => break,
            Err(error) => return Err(error).with_context(|| format!("{prepared:?}{}", agent.output())),
        }
        // There is room for ten in the smaller region.
        ensure!(passed.len() < 19 && begun.elapsed() < 2 * TIMEOUT, "it never denies{}", agent.output());
        thread::sleep(SETTLE_TIME);
    }
    for made in &passed {
        agent.event(&format!("anything of {made:?}"), TIMEOUT, |event| {
            let kinds = ["set_up", "existing_namespace", "unjudged"];
            let told = kinds.iter().any(|kind| has_text(event, "event", kind));
            (told && has_text(event, "namespace_uuid", &made.namespace_uuid)).then_some(())
        })?;
    }
    Ok(())
}

/// libnvdimm is reloaded under an agent, and the first creation comes at once.
#[test]
fn no_creation_at_the_load_of_libnvdimm_goes_untold() -> Result<()> {
    regions::fresh()?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    modules::unload_stack()?;
    modules::load_stack()?;
    let prepared = creation::prepare(&small(&regions::find()?.first, Mode::Fsdax))?;
    let bound = prepared.bind().map_err(|error| error.raw_os_error());
    let kinds: &[&str] = match bound {
        Ok(()) => &["set_up", "existing_namespace", "unjudged"],
        Err(Some(libc::ENOMEM)) => &["denied"],
        Err(code) => anyhow::bail!("{prepared:?}: {code:?}{}", guard.output()),
    };
    guard.event(&format!("{kinds:?} of {prepared:?}"), TIMEOUT, |event| {
        let told = kinds.iter().any(|kind| has_text(event, "event", kind));
        (told && has_text(event, "namespace_uuid", &prepared.namespace_uuid)).then_some(())
    })
}

#[test]
fn sighup_with_a_bad_file_leaves_the_policy_in_force() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    policy::write("[guard]\nmode = \"audit\"\nno_such_key = 1\n")?;
    guard.signal(Signal::SIGHUP)?;
    let refused = guard.event("the file's refusal", TIMEOUT, |event| {
        has_text(event, "event", "policy_refused").then(|| event["error"].to_string())
    })?;
    ensure!(refused.contains("line 3") && refused.contains("no_such_key"), "{refused}");
    let prepared = creation::prepare(&wanted(&region, Mode::Fsdax, Map::Dev))?;
    guard.denies(&prepared)?;
    ensure!(guard::status()?["policy"]["reload_error"].is_string(), "{}", guard::status()?);
    // A good one is taken whole.
    Policy::default_audit(GuardMode::Enforce).write()?;
    guard.signal(Signal::SIGHUP)?;
    guard.event("the file's taking", TIMEOUT, |event| {
        (has_text(event, "event", "policy_loaded") && event["by"] != Value::Null
            || has_text(event, "event", "policy_loaded") && event["number"].as_u64() > Some(1))
        .then_some(())
    })?;
    guard.passes(&prepared)?;
    guard.judged_only(&["denied"])
}

fn done(request: &Value) -> Result<Value> {
    let answer = guard::request(request)?;
    ensure!(answer.get("answer").is_some(), "{request}: {answer}");
    Ok(answer)
}

/// While the mode changes, each creation is either denied or reported as a would-deny, and an existing namespace can be
/// enabled.
#[test]
fn mode_changed_a_thousand_times_under_load() -> Result<()> {
    let region = regions::fresh()?.first;
    let existing = creation::create(&small(&region, Mode::Devdax))?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let changing = AtomicBool::new(true);
    let (mut denied, mut passed) = (0, 0);
    thread::scope(|scope| -> Result<()> {
        let changes = scope.spawn(|| {
            let outcome = (0..CHANGES).try_for_each(|number| {
                let mode = if number.is_multiple_of(2) { "audit" } else { "enforce" };
                done(&json!({ "mode": { "mode": mode } })).map(drop)
            });
            changing.store(false, Ordering::Release);
            outcome
        });
        while changing.load(Ordering::Acquire) {
            sysfs::unbind(&existing.holder)?;
            existing.bind().context("an existing namespace")?;
            let prepared = creation::prepare(&small(&region, Mode::Fsdax))?;
            match prepared.bind() {
                Ok(()) => passed += 1,
                Err(error) => {
                    ensure!(error.raw_os_error() == Some(libc::ENOMEM), "{error}");
                    denied += 1;
                }
            }
            namespace::destroy(&prepared.namespace)?;
        }
        changes.join().unwrap_or_else(|_| anyhow::bail!("the changes panicked"))
    })
    .with_context(|| guard.output())?;
    let prepared = creation::prepare(&small(&region, Mode::Fsdax))?;
    guard.denies(&prepared).context("the last mode is enforce")?;
    let changed = guard.events(|event| has_text(event, "event", "mode_changed")).len();
    assert_eq!(changed, CHANGES, "each change is reported");
    let skipped = skipped_programs()?;
    let tally = guard.stop_and_count()?;
    let count = |guard: &mut Guard, kind: &str| guard.events(|event| has_text(event, "event", kind)).len();
    let reported = ["denied", "would_deny", "unjudged"].map(|kind| count(&mut guard, kind));
    let unjudged = guard.events(|event| has_text(event, "event", "unjudged"));
    assert_eq!(
        reported,
        [denied + 1, passed, 0],
        "denied, would-deny, unjudged: {tally}; skipped programs before the end: {skipped}; {unjudged:#?}"
    );
    Ok(())
}

/// The kernel's counts of programs that it did not run, where there are any: for a failure that they may explain.
fn skipped_programs() -> Result<String> {
    let metrics = web::metrics()?;
    let counts = metrics.lines().filter(|line| line.contains("_misses_total{") && !line.ends_with(" 0"));
    Ok(counts.collect::<Vec<_>>().join(", "))
}

/// Each grant or revocation of an exemption is a new snapshot; the one that covers the region is in all of them.
#[test]
fn policy_swapped_a_thousand_times_while_an_exempted_creation_loops() -> Result<()> {
    let region = regions::fresh()?.first;
    let start = sysfs::number(&region, "resource")?;
    let mut guard = Guard::start(&Policy::strict(GuardMode::Enforce).exempt_region(start))?;
    let before = guard::status()?["policy"]["number"].as_u64().context("no number")?;
    let swapping = AtomicBool::new(true);
    let mut made = 0;
    thread::scope(|scope| -> Result<()> {
        let swaps = scope.spawn(|| {
            let outcome = (0..CHANGES / 2).try_for_each(|_| {
                let subject = json!({ "namespace_uuid": creation::new_uuid()? });
                let granted = done(&json!({ "allow": { "subject": subject, "once": true, "reason": "another" } }))?;
                done(&json!({ "revoke": { "id": granted["answer"]["allowed"]["id"] } })).map(drop)
            });
            swapping.store(false, Ordering::Release);
            outcome
        });
        while swapping.load(Ordering::Acquire) {
            let prepared = creation::prepare(&small(&region, Mode::Fsdax))?;
            prepared.bind().with_context(|| format!("denied after {made} that passed"))?;
            namespace::destroy(&prepared.namespace)?;
            made += 1;
        }
        swaps.join().unwrap_or_else(|_| anyhow::bail!("the swaps panicked"))
    })
    .with_context(|| guard.output())?;
    let number = guard::status()?["policy"]["number"].as_u64().context("no number")?;
    ensure!(number >= before + 1000, "policy {number} after {before}");
    ensure!(made > 3, "{made} creations are no loop");
    let tally = guard.stop_and_count()?;
    let told = guard.judgements();
    ensure!(
        told.iter().all(|event| has_text(event, "event", "exempt") || event["reason"] == "policy_changed"),
        "{told:#?}"
    );
    assert_eq!(told.len(), made, "{tally}");
    Ok(())
}

/// Denials as fast as possible: a mode change must still be accepted.
#[test]
fn mode_is_taken_while_denials_flood() -> Result<()> {
    const ARMED_TIMEOUT: Duration = Duration::from_secs(10);
    let region = regions::fresh()?.first;
    let guard = Guard::start(&Policy::strict(GuardMode::Enforce))?;
    let prepared = creation::prepare(&small(&region, Mode::Fsdax))?;
    let (begun, trying) = (Instant::now(), AtomicBool::new(true));
    thread::scope(|scope| -> Result<()> {
        let rival = scope.spawn(|| {
            while trying.load(Ordering::Acquire) && prepared.bind().is_err() {
                std::hint::spin_loop()
            }
        });
        thread::sleep(Duration::from_secs(3));
        let asked = Instant::now();
        let told = guard.stance(GuardMode::Audit);
        let took = asked.elapsed();
        trying.store(false, Ordering::Release);
        rival.join().map_err(|_| anyhow::anyhow!("the rival panicked"))?;
        told?;
        ensure!(
            took < ARMED_TIMEOUT,
            "the agent took {took:?} to answer, {:?} after the first denial",
            begun.elapsed()
        );
        Ok(())
    })
}

/// Stopped, with a full ring of one page: the kernel's side decides as before, and losses are counted.
#[test]
fn stopped_agent_with_a_full_ring_guards_on() -> Result<()> {
    let region = regions::fresh()?.first;
    let existing = creation::create(&small(&region, Mode::Devdax))?;
    let mut guard = Guard::start_with(&Policy::strict(GuardMode::Enforce), &["--ring-size", "4KiB"])?;
    let idle = sysfs::text(&region, "dax_seed")?;
    guard.signal(Signal::SIGSTOP)?;
    for _ in 0..150 {
        ensure!(sysfs::write(&idle, "namespace", "namespace99.99").is_err(), "there is no such namespace");
    }
    for _ in 0..10 {
        sysfs::unbind(&existing.holder)?;
        existing.bind().context("an existing namespace")?;
    }
    let prepared = super::fixtures::prepare_blank(&wanted(&region, Mode::Fsdax, Map::Dev))?;
    let code = prepared.bind().map_err(|error| error.raw_os_error());
    assert_eq!(code, Err(Some(libc::ENOMEM)));
    nothing_is_written(&prepared.namespace)?;
    let lean = super::fixtures::again(&wanted(&region, Mode::Fsdax, Map::Mem), &prepared.namespace)?;
    lean.bind().context("map=mem")?;
    guard.signal(Signal::SIGCONT)?;
    let counters = guard::status()?["counters"].clone();
    assert_eq!((&counters["denied"], &counters["would_deny"]), (&json!(1), &json!(0)), "{counters}");
    let tally = guard.stop_and_count()?;
    ensure!(tally["lost"].as_u64() > Some(0), "nothing was lost: {tally}");
    Ok(())
}
