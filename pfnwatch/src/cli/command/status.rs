//! `pfnwatch status`: the state of the agent and its guard.

use std::fmt::Write as _;
use std::time::Duration;

use super::{allow, mode};
use crate::cli::output::json::Format;
use crate::cli::output::terminal;
use crate::cli::socket_args::SocketArgs;
use crate::export::line;
use crate::model::device::DeviceTotals;
use crate::model::event::{MaxStructPageStatus, ProgramState, RecordTotals};
use crate::model::exit::Exit;
use crate::model::policy::{Mode, OnAgentExit};
use crate::model::status::{AgentStatus, GuardStatus, PolicyStatus, Status, WebStatus};
use crate::model::units::{Bytes, Plural};
use crate::model::verdict::NamespaceTotals;
use crate::os::control_client;
use crate::os::paths::Paths;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo pfnwatch status
  sudo pfnwatch status --format json | jq .enforcement_effective

Enforcement is effective if an oversize creation would be refused now: the mode is enforce, the guard is attached, was seen to \
run within the last minutes, and knows all that it judges by.

Exit codes: 0 success; 1 error, or no agent runs; 2 wrong usage; 4 the mode is enforce, and it is not effective.")]
pub struct Args {
    /// How to write the status
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the agent is
    #[command(flatten)]
    socket: SocketArgs,
}

pub fn run(args: &Args, _paths: &Paths) -> anyhow::Result<Exit> {
    let status = control_client::status(&args.socket.path)?;
    terminal::print(&args.format.render(&status, || render(&status))?)?;
    Ok(exit(&status))
}

fn exit(status: &Status) -> Exit {
    if status.is_enforce_without_effect() { Exit::Unsupported } else { Exit::Success }
}

/// Counters that are printed even if they are zero.
const ALWAYS: [&str; 7] = ["judged", "denied", "would_deny", "exempt", "unjudged", "guard_fault", "lost"];

fn render(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<13}{value}");
    };
    line("agent", &agent(&status.agent));
    line("", &memory(&status.agent));
    line("observing", &observation(&status.agent));
    for text in programs(&status.programs) {
        line("", &text);
    }
    line("memory", &namespaces(status.totals.as_ref()));
    if let Some(devices) = status.device_totals.as_ref().and_then(devices) {
        line("", &devices);
    }
    line("records", &records(&status.records));
    line("last event", status.last_event.as_deref().unwrap_or("none yet"));
    line("mode", &mode::sentence(&status.mode));
    if let Some(configured) = status.mode.overridden() {
        line("", &format!("NOT THE CONFIGURATION'S ({configured}): `pfnwatch mode configured` returns to it"));
    }
    line("guard", &guard(&status.guard));
    line("enforcement", &enforcement(status));
    line("kernel", &max_struct_page(&status.max_struct_page));
    line("", &status.memmap_return.describe());
    for (name, value) in policy(&status.policy) {
        line(name, &value);
    }
    line("on exit", on_exit(status.on_agent_exit));
    line("pins", &if status.pins.is_empty() { "none".to_owned() } else { status.pins.join(" ") });
    line("counters", &counters(status));
    if let Some(missed) = probe_misses(status) {
        line("", &format!("probes that the kernel did not run: {missed}"));
    }
    for degraded in &status.degraded {
        line("DEGRADED", &format!("{} since {}, and retried: {}", degraded.part, degraded.since, degraded.error));
    }
    if let Some(error) = &status.store_error {
        line("event store", &format!("CANNOT BE WRITTEN: {error}"));
    }
    if let Some(evictions) = evictions(status) {
        line("DROPPED", &evictions);
    }
    line("web", &web(&status.web));
    for skipped in &status.skipped_exemptions {
        line("NOT IN FORCE", &format!("exempt is {} ({}): {}", skipped.subject, skipped.reason, skipped.skip_reason));
    }
    if status.exemptions.is_empty() {
        line("exemptions", "none");
    } else {
        let _ = write!(text, "\nExemptions in force:\n{}", allow::table(&status.exemptions));
    }
    text
}

fn agent(agent: &AgentStatus) -> String {
    let AgentStatus { pid, version, started, kernel, uptime_seconds, .. } = agent;
    let uptime = humantime::format_duration(Duration::from_secs(*uptime_seconds));
    format!("pid {pid}, pfnwatch {version}, since {started} ({uptime}), on Linux {kernel}")
}

fn memory(agent: &AgentStatus) -> String {
    let Some(memory) = agent.memory else { return "its memory is not known".to_owned() };
    let (own, file, shared) = (memory.anonymous_bytes, memory.file_bytes, memory.shared_bytes);
    format!("in memory: {} of its own, {} of files, {} shared", Bytes(own), Bytes(file), Bytes(shared))
}

fn namespaces(totals: Option<&NamespaceTotals>) -> String {
    let Some(totals) = totals else {
        return "the namespaces cannot be read: `pfnwatch scan` gives the reason".to_owned();
    };
    let excess = Some(totals.excess_bytes).filter(|bytes| *bytes > 0);
    let excess = excess.map(|bytes| format!(", {} too much", Bytes(bytes))).unwrap_or_default();
    format!(
        "{} of {}: {} reserved{excess}; {}",
        Plural(totals.namespaces, "namespace"),
        Bytes(totals.size_bytes),
        Bytes(totals.reservation_bytes),
        dram(totals.memmap_dram_bytes, totals.memmap_dram_unknown)
    )
}

fn devices(totals: &DeviceTotals) -> Option<String> {
    let dram = || dram(totals.memmap_dram_bytes, totals.memmap_dram_unknown);
    let text = || format!("{} of {}: {}", Plural(totals.devices, "device"), Bytes(totals.size_bytes), dram());
    (totals.devices > 0).then(text)
}

fn dram(bytes: u64, unknown: u64) -> String {
    let unknown = Some(unknown).filter(|count| *count > 0);
    let unknown = unknown.map(|count| format!(", unknown for {count}")).unwrap_or_default();
    format!("{} of DRAM for memmaps{unknown}", Bytes(bytes))
}

fn programs(programs: &[ProgramState]) -> Vec<String> {
    let attached = programs.iter().filter(|it| it.attached).count();
    let note = |it: &ProgramState| match (it.attached, &it.reason) {
        (true, None) => None,
        (true, Some(reason)) => Some(format!("{}: {reason}", it.program)),
        (false, reason) => Some(format!("{} IS NOT ATTACHED: {}", it.program, or_unknown(reason.as_deref()))),
    };
    let first = format!("{attached} of {} programs attached", programs.len());
    std::iter::once(first).filter(|_| !programs.is_empty()).chain(programs.iter().filter_map(note)).collect()
}

fn records(records: &RecordTotals) -> String {
    let received = format!("{} received", records.received);
    let undecoded = format!("{} NOT DECODED", records.decode_errors);
    let missed = format!("MISSED: {}", line::lost(records.missed));
    let bad = [(records.decode_errors > 0, undecoded), (!records.missed.is_nothing(), missed)];
    let bad: Vec<_> = bad.into_iter().filter_map(|(told, text)| told.then_some(text)).collect();
    if bad.is_empty() { format!("{received}, none lost") } else { format!("{received}, {}", bad.join(", ")) }
}

fn web(web: &WebStatus) -> String {
    match (&web.address, &web.problem) {
        (Some(address), _) => format!("http://{address}/"),
        (None, Some(problem)) => format!("NOT LISTENING on {problem}; it is tried again"),
        (None, None) => "off".to_owned(),
    }
}

fn observation(agent: &AgentStatus) -> String {
    match (agent.observing, &agent.reason) {
        (true, None) => "yes".to_owned(),
        (true, Some(reason)) => format!("yes: {reason}"),
        (false, _) => format!("NO: {}", agent.blind_reason()),
    }
}

fn guard(guard: &GuardStatus) -> String {
    let pinned = if guard.pinned { ", pinned" } else { "" };
    let state = match (guard.attached, guard.armed, guard.judges) {
        (true, true, true) => return format!("attached{pinned} and armed"),
        (true, true, false) => "attached{pinned} and armed, NOT SEEN TO RUN",
        (true, false, _) => "attached{pinned}, NOT ARMED (it judges nothing)",
        (false, ..) => "NOT ATTACHED",
    };
    format!("{}: {}", state.replace("{pinned}", pinned), or_unknown(guard.reason.as_deref()))
}

fn enforcement(status: &Status) -> String {
    let test = status.self_test.as_ref().map(|test| format!("proved at {}: {}", test.at, test.how));
    if status.enforcement_effective {
        let test = test.unwrap_or_else(|| "no self-test is reported".to_owned());
        return format!("effective, {test}");
    }
    if status.mode.mode == Mode::Audit && status.guard.judges {
        return "not requested: the mode is audit".to_owned();
    }
    let last = test.map(|test| format!("; last {test}")).unwrap_or_default();
    format!("NOT EFFECTIVE: {}{last}", or_unknown(status.ineffective_reason.as_deref()))
}

fn max_struct_page(known: &MaxStructPageStatus) -> String {
    let evidence = known.evidence.join("; ");
    let mut text = match known.max_struct_page_size_bytes {
        Some(bytes) => format!("reserves {bytes} B for each page ({evidence})"),
        None if known.conflicting_evidence.is_empty() => {
            let reasons = [known.evidence.as_slice(), &known.problems].concat().join("; ");
            let reasons = Some(reasons.as_str()).filter(|reasons| !reasons.is_empty());
            format!("what it reserves for each page is not known for certain: {}", or_unknown(reasons))
        }
        None => format!("CONFLICTING evidence of what it reserves for each page: {evidence}"),
    };
    for against in &known.conflicting_evidence {
        let _ = write!(text, "; against it: {against}");
    }
    text
}

fn policy(policy: &PolicyStatus) -> Vec<(&'static str, String)> {
    let from = policy.file.as_deref().unwrap_or("no file: the defaults");
    let aligns = if policy.aligns == 1 { "one align".to_owned() } else { format!("{} aligns", policy.aligns) };
    let mut lines = vec![
        ("policy", format!("number {} from {from} ({}), since {}", policy.number, policy.hash, policy.since)),
        (
            "",
            format!(
                "oversize is an excess of more than {aligns} and more than {} % of the namespace; the ideal has {} B for each page",
                percent(policy.parts_per_million),
                policy.reference_struct_page_bytes
            ),
        ),
    ];
    if let Some(error) = &policy.reload_error {
        lines.push(("", format!("THE PRESENT FILE WAS REJECTED: {error}")));
    }
    lines
}

/// Millionths as percent, exactly: 1000 is `0.1`.
fn percent(parts_per_million: u64) -> String {
    let text = format!("{}.{:04}", parts_per_million / 10_000, parts_per_million % 10_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

const fn on_exit(on_exit: OnAgentExit) -> &'static str {
    match on_exit {
        OnAgentExit::Release => "release: the guard ends with the agent",
        OnAgentExit::Hold => "hold: the guard stays without the agent (`pfnwatch guard release` removes it)",
    }
}

/// The most important counters, then all others that are not zero.
fn counters(status: &Status) -> String {
    let shown = |name: &str, count: u64| format!("{} {count}", name.replace('_', " "));
    let always = ALWAYS.iter().map(|name| shown(name, status.counters.get(*name).copied().unwrap_or(0)));
    let others = status.counters.iter().filter(|(name, count)| **count > 0 && !ALWAYS.contains(&name.as_str()));
    always.chain(others.map(|(name, count)| shown(name, *count))).collect::<Vec<_>>().join(", ")
}

/// The probes that were missed; `None` if there are none, or if the kernel does not report them.
fn probe_misses(status: &Status) -> Option<String> {
    let missed = status.probe_misses.iter().filter(|(_, count)| **count > 0);
    let texts: Vec<_> = missed.map(|(program, count)| format!("{program} {count}")).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

/// What was dropped because there was too much of it; `None` if nothing was.
fn evictions(status: &Status) -> Option<String> {
    let dropped = status.evictions.iter().filter(|(_, count)| **count > 0);
    let texts: Vec<_> = dropped.map(|(what, count)| format!("{count} {}", what.replace('_', " "))).collect();
    (!texts.is_empty()).then(|| format!("{} (above the limit)", texts.join(", ")))
}

fn or_unknown(reason: Option<&str>) -> &str {
    reason.unwrap_or("no reason known")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::screens;
    use crate::model::memmap_return::{MemmapEvidence, MemmapVerdict};
    use crate::testing::view;

    #[test]
    fn the_screen() {
        screens::compare("status", &render(&view::healthy().status));
        screens::compare("status_blind", &render(&view::blind().status));
    }

    #[test]
    fn what_an_agent_has_dropped_is_shown_and_its_memory_and_its_page() {
        let mut status = view::healthy().status;
        let said = render(&status);
        for part in [
            "DROPPED      2 reported blocks (above the limit)",
            "3 MiB of its own, 6 MiB of files",
            "http://127.0.0.1:9464/",
            "memory       2 namespaces of 32 GiB: 260 MiB reserved; 64 MiB of DRAM for memmaps\n",
            "guard        attached and armed",
            "enforcement  not requested: the mode is audit",
            "returns a memmap in DRAM when its device is disabled (code)",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let totals = status.totals.as_mut().unwrap();
        (totals.excess_bytes, totals.memmap_dram_unknown) = (64 << 20, 1);
        status.device_totals = Some(DeviceTotals {
            devices: 1,
            size_bytes: 1 << 30,
            memmap_dram_bytes: 16 << 20,
            ..DeviceTotals::default()
        });
        let text = render(&status);
        for part in [
            "reserved, 64 MiB too much; 64 MiB of DRAM for memmaps, unknown for 1\n",
            "1 device of 1 GiB: 16 MiB of DRAM",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        status.totals = None;
        assert!(render(&status).contains("memory       the namespaces cannot be read"));
        assert!(!said.contains("did not run") && !said.contains("lost since boot"));
        let memmaps = &mut status.memmap_return;
        memmaps.verdict = MemmapVerdict::NotReturned;
        memmaps.lost_bytes = [(MemmapEvidence::Code, 3 << 20), (MemmapEvidence::Observed, 5 << 20)].into();
        let expected = "DOES NOT RETURN a memmap in DRAM when its device is disabled (code); 8 MiB lost since boot";
        assert!(render(&status).contains(expected));
        status.probe_misses = [("bus_probe".to_owned(), 4), ("bus_remove".to_owned(), 0)].into();
        assert!(render(&status).contains("probes that the kernel did not run: bus_probe 4\n"));
        status.evictions.clear();
        assert!(!render(&status).contains("DROPPED"));
    }
}
