//! What the agent reports as done is done in the kernel, also by a pinned guard whose agent is blind; and enforcement is
//! called effective only if an oversize creation would be refused.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use guest::agent::has_text;
use guest::bpf::ModuleEpochMap;
use guest::creation::{self, Mode};
use guest::guard::{self, Guard};
use guest::hidden_store::HiddenStore;
use guest::policy::{GuardMode, Policy};
use guest::webhook::Webhook;
use guest::{modules, namespace, regions, sysfs, wait, web};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::fixtures::{again, small};
use super::hold::is_denied;

const TIMEOUT: Duration = Duration::from_secs(20);
/// 0 disarms all kprobes of the kernel, 1 arms them again.
const KPROBES: &str = "/sys/kernel/debug/kprobes/enabled";

fn held(mode: GuardMode) -> Policy {
    Policy::strict(mode).hold_on_exit()
}

/// Switches kprobes, and waits until the agent has reported that it is blind, or that it observes.
fn switch_kprobes(agent: &mut Guard, on: bool) -> Result<()> {
    fs::write(KPROBES, if on { "1" } else { "0" }).with_context(|| format!("cannot write {KPROBES}"))?;
    let is = |status: &Value, key| status.pointer(key) == Some(&on.into());
    let wanted = |status: &Value| (is(status, "/agent/observing") && is(status, "/guard/judges")).then_some(());
    agent.signal(Signal::SIGHUP)?;
    wait::until("the agent sees the switch", TIMEOUT, || wanted(&guard::status().ok()?))
        .with_context(|| format!("{:?}{}", guard::status(), agent.output()))
}

/// Without the agent's probes the guard's evidence is not updated: the pinned guard allows and counts, and takes every change.
#[test]
fn has_effect_while_kprobes_are_off() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut agent = Guard::start(&held(GuardMode::Enforce))?;
    let shape = small(&region, Mode::Fsdax);
    let prepared = again(&shape, &creation::prepare_empty(&shape)?)?;
    agent.denies(&prepared)?;
    let start = format!("{:#x}", sysfs::number(&region, "resource")?);
    let blind = (|| -> Result<()> {
        switch_kprobes(&mut agent, false)?;
        let status = guard::status()?;
        ensure!(status["guard"]["pinned"] == true && status["guard"]["attached"] == true, "{status:#}");
        ensure!(status["enforcement_effective"] == false, "{status:#}");
        ensure!(guard::pfnwatch(&["status"])?.code == Some(4), "enforce is not effective");
        let unjudged = status["counters"]["unjudged"].as_u64();
        prepared.bind().context("a disarmed guard allows")?;
        let status = guard::status()?;
        ensure!(status["counters"]["unjudged"].as_u64() > unjudged, "it is counted: {status:#}");
        guard::succeed(&["mode", "audit", "--reason", "the glass is broken"])?;
        let allowed =
            guard::succeed(&["allow", "--region", &start, "--for", "1h", "--reason", "a test", "--format", "json"])?;
        let id = serde_json::from_str::<Value>(&allowed)?["id"].to_string();
        guard::succeed(&["allow", "--revoke", &id]).map(drop)
    })();
    let observing = switch_kprobes(&mut agent, true);
    blind.and(observing).with_context(|| agent.output())?;
    let status = guard::status()?;
    ensure!(status["mode"]["mode"] == "audit" && status["exemptions"] == Value::Array(Vec::new()), "{status:#}");
    namespace::destroy(&prepared.namespace)?;
    let another = creation::prepare(&small(&region, Mode::Devdax))?;
    agent.passes(&another)?;
    agent.judgement("would_deny", &another)?;
    agent.stop_and_count()?;
    guard::succeed(&["guard", "release"]).map(drop)
}

/// An agent that starts while kprobes are off opens the pinned guard, and disarms it.
#[test]
fn agent_that_starts_blind_disarms_the_pinned_guard() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut first = Guard::start(&held(GuardMode::Enforce))?;
    let shape = small(&region, Mode::Fsdax);
    let prepared = again(&shape, &creation::prepare_empty(&shape)?)?;
    first.denies(&prepared)?;
    first.kill()?;
    is_denied(&prepared)?;
    fs::write(KPROBES, "0")?;
    let blind = (|| -> Result<()> {
        held(GuardMode::Enforce).write()?;
        let mut second =
            guest::agent::Agent::spawn(&["--config", guest::policy::PATH, "--control-socket", guard::SOCKET])?;
        second.event("that it is blind", TIMEOUT, |event| has_text(event, "event", "blind").then_some(()))?;
        let pinned = |status: &Value| status["guard"]["pinned"] == true && status["guard"]["judges"] == false;
        wait::until("a status", TIMEOUT, || guard::status().ok().filter(pinned))?;
        prepared.bind().context("a disarmed guard allows")?;
        guard::succeed(&["mode", "audit"])?;
        second.stop().map(drop)
    })();
    fs::write(KPROBES, "1")?;
    blind?;
    guard::succeed(&["guard", "release"]).map(drop)
}

/// A sysfs of links in which the namespaces cannot be listed: there is a file instead of their folder.
fn sysfs_without_a_list(root: &Path) -> Result<()> {
    let mut folder = root.to_owned();
    let mut of_kernel = Path::new("/sys").to_owned();
    for next in ["bus", "nd", "devices"] {
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&of_kernel)?.flatten().filter(|entry| entry.file_name() != next) {
            symlink(entry.path(), folder.join(entry.file_name()))?;
        }
        folder.push(next);
        of_kernel.push(next);
    }
    fs::write(&folder, "").context("the file cannot be made")
}

/// What there is cannot be read, so that no known block is handed over: the guard is not armed, and that is not called effective.
#[test]
fn guard_that_is_not_armed_is_not_effective() -> Result<()> {
    const SYSFS: &str = "/run/sysfs-without-a-list";
    let region = regions::fresh()?.first;
    sysfs_without_a_list(Path::new(SYSFS))?;
    let mut agent = Guard::spawn(&Policy::strict(GuardMode::Enforce), &["--path.sysfs", SYSFS])?;
    let status = wait::until("the reason", TIMEOUT, || {
        guard::status().ok().filter(|status| status["degraded"][0]["part"] == "arming")
    })
    .with_context(|| format!("{:?}{}", guard::status(), agent.output()))?;
    ensure!(status["guard"]["attached"] == true && status["guard"]["judges"] == false, "{status:#}");
    ensure!(status["enforcement_effective"] == false, "{status:#}");
    for arguments in [&["status"][..], &["mode", "enforce"]] {
        let said = guard::pfnwatch(arguments)?;
        ensure!(said.code == Some(4) && said.stdout.contains("NOT EFFECTIVE"), "{arguments:?}: {said:?}");
    }
    agent.passes(&creation::prepare(&small(&region, Mode::Devdax))?)?;
    guard::succeed(&["mode", "audit"])?;
    agent.stop_and_count().map(drop)
}

/// Enforcement is requested and not effective: each way to ask reports that.
fn is_reported_not_effective(agent: &mut Guard, hook: &Webhook) -> Result<()> {
    let status = guard::status()?;
    let is_false = |key| status.pointer(key) == Some(&false.into());
    ensure!(is_false("/enforcement_effective") && is_false("/guard/judges"), "{status:#}");
    for arguments in [&["status"][..], &["mode", "enforce"]] {
        let said = guard::pfnwatch(arguments)?;
        ensure!(said.code == Some(4) && said.stdout.contains("NOT EFFECTIVE"), "{arguments:?}: {said:?}");
    }
    let shown = || web::value(&web::metrics().ok()?, "pfnwatch_enforcement_effective", &[]).ok();
    wait::until("the metric", TIMEOUT, || shown().filter(|shown| *shown == 0))?;
    let is_it = |alert: &Value| has_text(&alert["labels"], "alertname", "PfnwatchEnforceNotEffective");
    wait::until("the alert", TIMEOUT, || hook.waiting().into_iter().find(is_it)).with_context(|| agent.output())?;
    Ok(())
}

fn is_effective() -> Result<()> {
    let effective = |status: &Value| status["enforcement_effective"] == true;
    wait::until("an effective guard", TIMEOUT, || guard::status().ok().filter(effective))
        .with_context(|| format!("{:?}", guard::status()))?;
    ensure!(guard::pfnwatch(&["status"])?.code == Some(0), "enforce is effective");
    let shown = || web::value(&web::metrics().ok()?, "pfnwatch_enforcement_effective", &[]).ok();
    wait::until("the metric", TIMEOUT, || shown().filter(|shown| *shown == 1)).map(drop)
}

/// Neither code nor a block shows MAX_STRUCT_PAGE_SIZE. The first block that the kernel writes shows it.
#[test]
fn guard_that_does_not_know_the_struct_page_size_is_not_effective() -> Result<()> {
    let region = regions::fresh()?.first;
    let _hidden = modules::HiddenFile::hide("libnvdimm")?;
    let _probe = HiddenStore::hide()?;
    let hook = Webhook::refusing_first(0)?;
    let mut agent = Guard::spawn(&Policy::strict(GuardMode::Enforce).report_to(&hook), &[])?;
    let reason = |status: &Value| status["ineffective_reason"].to_string().contains("MAX_STRUCT_PAGE_SIZE");
    wait::until("the reason", TIMEOUT, || guard::status().ok().filter(reason))
        .with_context(|| format!("{:?}{}", guard::status(), agent.output()))?;
    is_reported_not_effective(&mut agent, &hook)?;
    let prepared = creation::prepare(&small(&region, Mode::Fsdax))?;
    agent.passes(&prepared)?;
    agent.judgement("unjudged", &prepared)?;
    is_effective().with_context(|| agent.output())?;
    agent.denies(&creation::prepare(&small(&region, Mode::Devdax))?)?;
    agent.judged_only(&["unjudged", "denied"])
}

/// The known blocks are for another load of libnvdimm than the one that the kernel has counted last. The agent attaches again where it
/// notices that: the number is changed again and again.
#[test]
fn guard_with_a_stale_module_epoch_is_not_effective() -> Result<()> {
    let region = regions::fresh()?.first;
    let hook = Webhook::refusing_first(0)?;
    let mut agent = Guard::start(&held(GuardMode::Enforce).report_to(&hook))?;
    is_effective()?;
    let mut epoch = ModuleEpochMap::open()?;
    let goes_on = AtomicBool::new(true);
    thread::scope(|scope| -> Result<()> {
        let turning = scope.spawn(|| -> Result<()> {
            while goes_on.load(Ordering::Acquire) {
                epoch.turn()?;
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        let reported = is_reported_not_effective(&mut agent, &hook);
        let passed = creation::prepare(&small(&region, Mode::Fsdax)).and_then(|prepared| agent.passes(&prepared));
        goes_on.store(false, Ordering::Release);
        turning.join().unwrap_or_else(|_| anyhow::bail!("the thread panicked"))?;
        reported.and(passed)
    })?;
    agent.signal(Signal::SIGHUP)?;
    is_effective().with_context(|| agent.output())?;
    agent.denies(&creation::prepare(&small(&region, Mode::Devdax))?)?;
    agent.stop_and_count()?;
    guard::succeed(&["guard", "release"]).map(drop)
}

/// The configuration's mode is in force after a restart, unless a person has set another one.
#[test]
fn mode_of_a_person_outlives_a_restart_under_hold() -> Result<()> {
    let region = regions::fresh()?.first;
    let mut first = Guard::start(&held(GuardMode::Audit))?;
    first.stop_and_count()?;
    let mut second = Guard::start(&held(GuardMode::Enforce))?;
    let prepared = creation::prepare(&small(&region, Mode::Fsdax))?;
    second.denies(&prepared).context("the configuration's mode, since nobody has set another by hand")?;
    guard::succeed(&["mode", "audit", "--reason", "a person's choice"])?;
    second.stop_and_count()?;
    let mut third = Guard::start(&held(GuardMode::Enforce))?;
    let status = guard::status()?;
    ensure!(status["mode"]["mode"] == "audit" && status["mode"]["source"] == "person", "{status:#}");
    ensure!(status["mode"]["configured_mode"] == "enforce", "{status:#}");
    third.signal(Signal::SIGHUP)?;
    third.collect("the policy again", 2, TIMEOUT, |event| has_text(event, "event", "policy_loaded"))?;
    third.passes(&prepared)?;
    guard::succeed(&["mode", "configured"])?;
    third.denies(&creation::prepare(&small(&region, Mode::Devdax))?)?;
    third.stop_and_count()?;
    guard::succeed(&["guard", "release"]).map(drop)
}
