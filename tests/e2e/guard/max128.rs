//! On a kernel with the regression, with the default policy: what the guard is for.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use guest::agent::has_text;
use guest::creation::{self, Map, Mode, NamespaceSpec};
use guest::dmesg::Mark;
use guest::guard::{self, Guard};
use guest::pfnwatch::ensure_contains;
use guest::policy::{GuardMode, Policy};
use guest::{GIB, MIB, command, modules, namespace, ndctl, regions, sysfs};
use serde_json::json;

use super::fixtures::{MODES, again, count, no_other_warning, nothing_is_written, room, wanted};

const TIMEOUT: Duration = Duration::from_secs(20);

fn one_gib(region: &str, mode: Mode) -> NamespaceSpec {
    NamespaceSpec { size_bytes: GIB, ..wanted(region, mode, Map::Dev) }
}

#[test]
fn map_dev_is_denied_with_its_reason_and_map_mem_passes() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::default_audit(GuardMode::Enforce))?;
    let log = Mark::now()?;
    for mode in MODES {
        let prepared = creation::prepare(&one_gib(&region, mode))?;
        let event = guard.denies(&prepared)?;
        let expected = json!({
            "namespace_uuid": prepared.namespace_uuid, "size_bytes": GIB, "align_bytes": 2 * MIB,
            "reservation_bytes": 35_651_584, "ideal_bytes": 18_874_368, "excess_bytes": 16 * MIB,
            "max_struct_page_size_bytes": 128, "cause": "regressed_kernel", "class": "A",
        });
        ensure_contains(&event, &expected)?;
        let (detail, remedies) = (event["detail"].to_string(), event["remedies"].to_string());
        ensure!(detail.len() > 20 && remedies.contains("--map=mem"), "no explanation: {event:#}");
        nothing_is_written(&prepared.namespace)?;
        let lean = again(&wanted(&region, mode, Map::Mem), &prepared.namespace)?;
        guard.passes(&lean)?;
    }
    no_other_warning(log)?;
    guard.judged_only(&["denied", "denied"])
}

/// A pinned guard whose agent is gone, and another libnvdimm instead of the one that it knows, twice.
#[test]
fn held_guard_passes_what_another_libnvdimm_makes() -> Result<()> {
    let policy = Policy::default_audit(GuardMode::Enforce).hold_on_exit();
    let region = regions::fresh()?.first;
    let mut first = Guard::start(&policy)?;
    first.denies(&creation::prepare(&one_gib(&region, Mode::Fsdax))?)?;
    first.kill()?;
    let exchange = || -> Result<String> {
        modules::unload_stack()?;
        modules::exchange_libnvdimm()?;
        modules::load_stack()?;
        Ok(regions::find()?.first)
    };
    let region = exchange()?;
    creation::create(&one_gib(&region, Mode::Fsdax)).context("a kernel without the regression")?;
    let region = exchange()?;
    let made = creation::create(&one_gib(&region, Mode::Devdax)).context("nobody can judge it")?;
    let mut second = Guard::start(&policy)?;
    second.event("what was made meanwhile", TIMEOUT, |event| {
        let ours =
            has_text(event, "event", "existing_namespace") && has_text(event, "namespace_uuid", &made.namespace_uuid);
        (ours && has_text(event, "verdict", "oversize")).then_some(())
    })?;
    second.denies(&creation::prepare(&one_gib(&region, Mode::Fsdax))?)?;
    guard::succeed(&["guard", "release"]).map(drop)
}

#[test]
fn what_the_regression_does_not_cost_passes() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::default_audit(GuardMode::Enforce))?;
    for (mode, size_bytes, align_bytes) in [
        (Mode::Fsdax, 32 * MIB, 2 * MIB),
        // One align more than the ideal, and no more than that.
        (Mode::Fsdax, 64 * MIB, 2 * MIB),
        // The reservation is one align with either number.
        (Mode::Devdax, 16 * GIB, GIB),
    ] {
        let wanted = NamespaceSpec { align_bytes, ..NamespaceSpec::new(&region, mode, size_bytes) };
        let prepared = creation::prepare(&wanted)?;
        guard.passes(&prepared).with_context(|| format!("{wanted:?}"))?;
        namespace::destroy(&prepared.namespace)?;
    }
    guard.was_silent()
}

/// One namespace after the other, each the same creation.
#[test]
fn the_same_creation_passes_in_audit_once_and_for_a_while() -> Result<()> {
    const WHILE: Duration = Duration::from_secs(6);
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::default_audit(GuardMode::Enforce))?;
    let attempt = |guard: &mut Guard, passes: bool| {
        let prepared = creation::prepare(&one_gib(&region, Mode::Fsdax))?;
        if passes {
            guard.passes(&prepared)?
        } else {
            guard.denies(&prepared).map(drop)?
        }
        namespace::destroy(&prepared.namespace)
    };
    attempt(&mut guard, false)?;
    guard.stance(GuardMode::Audit)?;
    attempt(&mut guard, true)?;
    guard.stance(GuardMode::Enforce)?;
    attempt(&mut guard, false)?;
    let start = format!("{:#x}", sysfs::number(&region, "resource")?);
    guard::succeed(&["allow", "--region", &start, "--once", "--reason", "a test"])?;
    attempt(&mut guard, true)?;
    attempt(&mut guard, false)?;
    let begun = Instant::now();
    guard::succeed(&["allow", "--region", &start, "--for", "6s", "--reason", "a test"])?;
    attempt(&mut guard, true)?;
    attempt(&mut guard, true)?;
    sleep(WHILE.saturating_sub(begun.elapsed()) + Duration::from_secs(1));
    attempt(&mut guard, false)?;
    guard.judged_only(&["denied", "would_deny", "denied", "exempt", "denied", "exempt", "exempt", "denied"])
}

#[test]
fn ndctl_leaves_nothing_behind() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::default_audit(GuardMode::Enforce))?;
    let free = room(&region)?;
    for mode in ["fsdax", "devdax"] {
        let create = ["create-namespace", "-r", &region, "-m", mode, "-M", "dev", "-s", "4G", "-a", "2M"];
        let said = command::attempt("/bin/ndctl", &create)?;
        ensure!(said.code.is_some_and(|code| code != 0), "it was not denied: {said:?}");
        assert_eq!((count(&region)?, room(&region)?), (0, free), "{said:?}");
    }
    ndctl::create(&region, &["-m", "fsdax", "-M", "mem", "-s", "4G"])?;
    guard.judged_only(&["denied", "denied"])
}

/// Made in audit mode: oversize, and existing. Each way to enable it is allowed.
#[test]
fn what_is_there_is_enabled() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut guard = Guard::start(&Policy::default_audit(GuardMode::Audit))?;
    let made = MODES.map(|mode| creation::create(&one_gib(&region, mode)));
    guard.stance(GuardMode::Enforce)?;
    for made in made {
        let made = made?;
        namespace::disable(&made.namespace)?;
        namespace::enable(&made.namespace).with_context(|| guard.output())?;
        ndctl::disable(&made.namespace)?;
        ndctl::enable(&made.namespace).with_context(|| guard.output())?;
        let holder = namespace::holder(&made.namespace)?;
        sysfs::unbind(&holder)?;
        sysfs::bind(&holder, made.driver).with_context(|| guard.output())?;
    }
    guard.judged_only(&["would_deny", "would_deny"])
}
