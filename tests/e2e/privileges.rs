//! What the agent does not need it gives up once it is attached; what comes later works all the same.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::agent::has_text;
use guest::creation::{self, Mode, NamespaceSpec, PreparedNamespace};
use guest::guard::{self, Guard};
use guest::policy::{GuardMode, Policy};
use guest::{modules, regions, wait};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

const TIMEOUT: Duration = Duration::from_secs(20);

/// CAP_BPF (include/uapi/linux/capability.h).
const IDLE_CAPABILITIES: u64 = 1 << 39;
/// With CAP_DAC_READ_SEARCH, CAP_SYS_RAWIO, CAP_SYS_ADMIN, CAP_SYSLOG and CAP_PERFMON.
const PERMITTED_CAPABILITIES: u64 = IDLE_CAPABILITIES | 1 << 2 | 1 << 17 | 1 << 21 | 1 << 34 | 1 << 38;

pub(crate) fn watches_with_little(agent: Pid) -> Result<()> {
    let file = format!("/proc/{agent}/status");
    // Capabilities are raised in this thread alone, once another has read the code that frees memmaps.
    let alone = || fs::read_to_string(&file).ok().filter(|status| value(status, "Threads") == Some("1"));
    let status = wait::until("the agent's only thread", TIMEOUT, alone)?;
    let wanted = [
        ("CapEff", IDLE_CAPABILITIES),
        ("CapPrm", PERMITTED_CAPABILITIES),
        ("CapBnd", PERMITTED_CAPABILITIES),
        ("CapInh", 0),
        ("CapAmb", 0),
        ("NoNewPrivs", 1),
    ];
    for (key, wanted) in wanted {
        let found = value(&status, key).and_then(|text| u64::from_str_radix(text, 16).ok());
        ensure!(found == Some(wanted), "{key}: {found:x?}, and not {wanted:x}");
    }
    Ok(())
}

fn value<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"))
}

fn oversize() -> Result<PreparedNamespace> {
    let (region, size_bytes) = (regions::find()?.first, 512 << 20);
    creation::prepare(&NamespaceSpec::new(&region, Mode::Fsdax, size_bytes))
}

#[test]
fn given_up_after_the_attachment_and_not_missed_later() -> Result<()> {
    regions::fresh()?;
    let mut agent = Guard::start(&Policy::strict(GuardMode::Enforce).hold_on_exit())?;
    // It reports ready first, and drops its privileges before it answers.
    agent.armed()?;
    watches_with_little(agent.pid()?)?;

    modules::unload_stack()?;
    agent.event("that it is blind", TIMEOUT, |event| has_text(event, "event", "blind").then_some(()))?;
    modules::load_stack()?;
    agent.armed().context("libnvdimm was reloaded")?;
    let evidence = guard::status()?["max_struct_page"]["evidence"].clone();
    ensure!(evidence.to_string().contains("as it runs"), "neither symbols nor code were read: {evidence}");
    let prepared = oversize()?;
    let denial = agent.denies(&prepared)?;
    ensure!(denial["by"]["cgroup"].is_string(), "the cgroup's path is missing: {denial}");
    watches_with_little(agent.pid()?)?;

    guard::succeed(&["guard", "release"])?;
    ensure!(fs::read_dir("/sys/fs/bpf")?.next().is_none(), "pins are left");
    agent.stance(GuardMode::Audit)?;
    agent.passes(&prepared)?;

    // The guard is no longer held: the programs are reloaded.
    Policy::strict(GuardMode::Enforce).write()?;
    agent.signal(Signal::SIGHUP)?;
    agent.event("the policy of the file", TIMEOUT, |event| {
        let taken = event["explanation"].to_string().contains("when the agent ends, release");
        (has_text(event, "event", "policy_loaded") && taken).then_some(())
    })?;
    agent.armed().context("the configuration was read again")?;
    // What a person has set outlives the reload.
    guard::succeed(&["mode", "configured"])?;
    let effective = guard::status()?;
    ensure!(effective["enforcement_effective"] == true, "it does not prove that it fires: {effective}");
    watches_with_little(agent.pid()?)
}
