//! Metrics of namespaces, of devices and of the agent, as families of samples, and Prometheus' text format for them. Pure.
//!
//! Why the format is written here: the maintained library for it (`prometheus`) wants to own the numbers, and ours come
//! from one view at the moment of a scrape.

mod devices;
mod encode;
mod namespaces;
#[cfg(test)]
mod tests;

use pfnwatch_common::counter::Counter;

#[cfg(test)]
pub(crate) use self::encode::Described;
use self::encode::omitted;
pub use self::encode::{CONTENT_TYPE, Family, MetricValue, render};
use crate::model::alert::DeliveryStats;
use crate::model::capacity::{Regression, RegressionSubject};
use crate::model::event::RecordTotals;
use crate::model::policy::Mode;
use crate::model::scan_result::ScanResult;
use crate::model::status::{AgentStatus, MemoryStatus};
use crate::model::view::View;

#[must_use]
pub fn of_view(view: &View) -> Vec<Family> {
    let mut families = agent_families(view);
    families.extend(guard_families(view));
    families.extend(record_families(view));
    families
        .push(Family::gauge("pfnwatch_inventory_up", "1 if the namespaces could be read.").value(view.scan.is_ok()));
    if let Ok(scan) = &view.scan {
        families.extend(namespaces::families(scan));
        families.extend(devices::families(scan));
    }
    families.push(omitted(&families));
    families
}

/// What `pfnwatch scan --format prom` prints.
#[must_use]
pub fn of_scan(scan: &ScanResult) -> Vec<Family> {
    let mut families = namespaces::families(scan);
    families.extend(devices::families(scan));
    families.push(omitted(&families));
    families
}

fn agent_families(view: &View) -> Vec<Family> {
    let agent = &view.status.agent;
    let mut families = vec![
        Family::info("pfnwatch_build", "The agent.").with(vec![("version", agent.version.clone())], 1_u64),
        Family::gauge("pfnwatch_agent_start_time_seconds", "When the agent started, in seconds since 1970.")
            .value(agent.started.unix_seconds()),
        Family::gauge("pfnwatch_observing", "1 while the programs are attached.").value(agent.observing),
        Family::gauge("pfnwatch_ready", "1 while /readyz answers that the agent is ready.").value(view.ready().is_ok()),
        memory(agent),
        Family::counter("pfnwatch_degraded_errors", "Errors after which the agent went on without the part, by part.")
            .each("part", view.degraded.iter().map(|(part, count)| (part.to_string(), *count))),
        Family::counter("pfnwatch_agent_evictions", "Entries that the agent dropped because a table was full.")
            .each("table", view.status.evictions.iter().map(|(table, count)| (table.clone(), *count))),
    ];
    families.extend(kernel(view));
    families.extend(config(view));
    families.extend(programs(view));
    families
}

fn memory(agent: &AgentStatus) -> Family {
    let kinds = agent.memory.iter().flat_map(|memory| {
        let MemoryStatus { anonymous_bytes, file_bytes, shared_bytes } = *memory;
        [("anonymous", anonymous_bytes), ("file", file_bytes), ("shared", shared_bytes)]
    });
    let kinds = kinds.map(|(kind, bytes)| (kind.to_owned(), bytes));
    Family::gauge("pfnwatch_agent_resident_memory_bytes", "The agent's resident memory.").each("kind", kinds)
}

fn kernel(view: &View) -> [Family; 6] {
    let memmaps = &view.status.memmap_return;
    let lost = memmaps.lost_bytes.iter().map(|(evidence, bytes)| (evidence.as_str().to_owned(), *bytes));
    let kernel = view.scan.as_ref().ok().map(|scan| &scan.kernel);
    [
        Family::info("pfnwatch_kernel", "The running kernel.")
            .with(vec![("release", view.status.agent.kernel.clone())], 1_u64),
        Family::gauge("pfnwatch_kernel_page_size_bytes", "Bytes in a page.")
            .optional_value(kernel.map(|it| it.page_size)),
        Family::gauge("pfnwatch_kernel_struct_page_size_bytes", "sizeof(struct page).")
            .optional_value(kernel.and_then(|it| it.struct_page_size)),
        Family::gauge("pfnwatch_kernel_max_struct_page_size_bytes", "What the kernel reserves for each page.")
            .optional_value(view.max_struct_page_size),
        Family::gauge(
            "pfnwatch_kernel_memmap_returned",
            "0 if the kernel does not return a memmap in DRAM when its device is disabled.",
        )
        .optional_value(memmaps.verdict.is_returned()),
        Family::counter(
            "pfnwatch_memmap_not_returned_bytes",
            "DRAM of removed memmaps that the kernel did not return since boot, by the evidence; release is a suspicion.",
        )
        .each("evidence", lost),
    ]
}

fn config(view: &View) -> [Family; 2] {
    let policy = &view.status.policy;
    [
        Family::info("pfnwatch_config", "The configuration in force, by the start of its file's SHA-256.")
            .with(vec![("hash", policy.hash.clone())], 1_u64),
        Family::gauge("pfnwatch_config_last_reload_successful", "0 if the present configuration file was rejected.")
            .value(policy.reload_error.is_none()),
    ]
}

/// The kernel counts runs only if `kernel.bpf_stats_enabled` is 1.
fn programs(view: &View) -> [Family; 5] {
    let attached = view.programs.iter().map(|it| (it.program.clone(), it.attached));
    let counted = || view.runs.iter().filter_map(|it| Some((it.program.clone(), it.counted?)));
    let runs = counted().map(|(program, counted)| (program, counted.count));
    let time = counted().map(|(program, counted)| (program, in_seconds(counted.time_ns)));
    let missed = view.runs.iter().filter_map(|it| Some((it.program.clone(), it.probe_misses?)));
    let skipped = view.runs.iter().filter_map(|it| Some((it.program.clone(), it.recursion_misses?)));
    [
        Family::gauge("pfnwatch_program_attached", "1 if the eBPF program is attached.").each("program", attached),
        Family::counter("pfnwatch_program_runs", "How often the program ran, if the kernel counts it.")
            .each("program", runs),
        Family::counter("pfnwatch_program_run_seconds", "Time that the program ran, if the kernel counts it.")
            .each("program", time),
        Family::counter(
            "pfnwatch_program_recursion_misses",
            "How often the kernel skipped the program, since another task was preempted inside it.",
        )
        .each("program", skipped),
        Family::counter(
            "pfnwatch_program_probe_misses",
            "How often the kernel did not run a probe, if it reports that (6.7 and later).",
        )
        .each("program", missed),
    ]
}

/// Nanoseconds as seconds. The rounding error of an f64 is below a nanosecond for the first 100 days.
fn in_seconds(nanoseconds: u64) -> f64 {
    std::time::Duration::from_nanos(nanoseconds).as_secs_f64()
}

const OUTCOMES: [Counter; 4] = [Counter::Denied, Counter::WouldDeny, Counter::Exempt, Counter::Unjudged];

fn guard_families(view: &View) -> Vec<Family> {
    let status = &view.status;
    let modes = [("audit", Mode::Audit), ("enforce", Mode::Enforce)];
    let modes = modes.map(|(name, mode)| (name.to_owned(), status.mode.mode == mode));
    let count = |counter: Counter| status.counters.get(counter.name()).copied();
    let outcomes = OUTCOMES.into_iter().filter_map(|it| Some((it.name().to_owned(), count(it)?)));
    vec![
        Family::gauge("pfnwatch_guard_mode", "1 for the guard's mode, 0 for the other.").each("mode", modes),
        Family::gauge(
            "pfnwatch_guard_mode_overridden",
            "1 while a person has set another mode than the configuration's.",
        )
        .value(status.mode.overridden().is_some()),
        Family::gauge(
            "pfnwatch_guard_armed",
            "1 while the guard knows the existing info blocks, and what the kernel reserves for each page.",
        )
        .value(status.guard.armed),
        Family::gauge("pfnwatch_guard_judges", "1 while the guard is armed, and its program was seen to run.")
            .value(status.guard.judges),
        Family::gauge("pfnwatch_enforcement_effective", "1 while an oversize creation would be refused.")
            .value(status.enforcement_effective),
        Family::counter("pfnwatch_guard_judged", "Creations that the guard judged, since its programs were loaded.")
            .optional_value(count(Counter::Judged)),
        Family::counter(
            "pfnwatch_guard_outcomes",
            "Creations that were denied, would have been, were exempt, or could not be judged, since the programs were loaded.",
        )
        .each("outcome", outcomes),
        Family::gauge("pfnwatch_guard_exemptions", "Exemptions in force.").value(status.exemptions.len()),
        Family::gauge("pfnwatch_guard_exemptions_skipped", "Exemptions of the configuration that are not in force.")
            .value(status.skipped_exemptions.len()),
    ]
}

fn record_families(view: &View) -> Vec<Family> {
    let mut families = records(&view.status.records);
    let events = view.events.iter().map(|(kind, count)| ((*kind).to_owned(), *count));
    families.push(
        Family::counter("pfnwatch_events", "Events since the agent started, by their kind.").each("event", events),
    );
    families.extend(store(view));
    families.extend(alerts(&view.alerts));
    families.extend(regressions(view));
    families
}

/// Losses are counted even if the event that reports them is lost too.
fn records(records: &RecordTotals) -> Vec<Family> {
    let missed = records.missed;
    let reasons = [
        ("ring_full", missed.lost),
        ("read_fault", missed.read_faults),
        ("table_full", missed.table_full),
        ("unpaired", missed.unpaired),
        ("guard_fault", missed.guard_faults),
        ("block_missed", missed.blocks_missed),
        ("return_missed", missed.returns_missed),
        ("swept", missed.swept),
    ];
    let reasons = reasons.map(|(reason, count)| (reason.to_owned(), count));
    vec![
        Family::counter("pfnwatch_records_received", "Records received from the kernel's side.")
            .value(records.received),
        Family::counter("pfnwatch_record_decode_errors", "Records that could not be decoded.")
            .value(records.decode_errors),
        Family::counter("pfnwatch_records_missed", "Records that the kernel's side lost or could not complete.")
            .each("reason", reasons),
    ]
}

fn store(view: &View) -> Vec<Family> {
    let store = &view.store;
    let uncommitted =
        Family::counter("pfnwatch_events_uncommitted", "Events that were reported before the event store had them.");
    // Neither a file nor a fault: it is turned off.
    if store.file.is_none() && store.error.is_none() {
        return Vec::new();
    }
    vec![
        Family::gauge("pfnwatch_store_up", "1 if the event store can be written.").value(store.error.is_none()),
        Family::gauge("pfnwatch_store_events", "Events in the event store.").value(store.events),
        Family::gauge("pfnwatch_store_size_bytes", "Size of the event store's file.").value(store.size_bytes),
        uncommitted.value(store.uncommitted),
    ]
}

fn alerts(all: &[DeliveryStats]) -> [Family; 5] {
    let attempts = Family::counter("pfnwatch_alert_deliveries", "Attempts to deliver a message, by outcome.");
    let attempts = all.iter().fold(attempts, |family, it| {
        let labels = |outcome: &str| vec![("receiver", it.receiver.clone()), ("outcome", outcome.to_owned())];
        family.with(labels("delivered"), it.delivered).with(labels("failed"), it.failed)
    });
    let given_up = Family::counter(
        "pfnwatch_alert_messages_given_up",
        "Messages that were dropped: the receiver rejected them, or was unreachable for too long.",
    );
    let given_up =
        all.iter().fold(given_up, |family, it| family.with(vec![("receiver", it.receiver.clone())], it.given_up));
    let merged = all.iter().map(|it| (it.receiver.clone(), it.merged));
    let pending = all.iter().map(|it| (it.receiver.clone(), it.pending));
    let up = all.iter().map(|it| (it.receiver.clone(), it.error.is_none()));
    [
        attempts,
        given_up,
        Family::counter(
            "pfnwatch_alert_messages_merged",
            "Messages that were not sent because the alert began and ended before they could be.",
        )
        .each("receiver", merged),
        Family::gauge("pfnwatch_alert_messages_pending", "Messages that wait for the receiver.")
            .each("receiver", pending),
        Family::gauge("pfnwatch_alert_receiver_up", "0 if the last attempt failed.").each("receiver", up),
    ]
}

fn regressions(view: &View) -> [Family; 2] {
    let of = |subject: &str| {
        let is_it = |it: &&Regression| match it.subject {
            RegressionSubject::Host => subject == "host",
            RegressionSubject::Namespace(_) => subject == "namespace",
            RegressionSubject::MemmapReturn { .. } => subject == "memmap_return",
            RegressionSubject::Device(_) => subject == "device",
        };
        view.regressions.iter().filter(is_it).collect::<Vec<_>>()
    };
    let by_subject = ["host", "namespace", "memmap_return", "device"].map(|subject| (subject, of(subject)));
    let lost = |all: &[&Regression]| all.iter().map(|it| it.lost_bytes()).fold(0, u64::saturating_add);
    let counts = by_subject.iter().map(|(subject, all)| ((*subject).to_owned(), all.len()));
    let bytes = by_subject.iter().map(|(subject, all)| ((*subject).to_owned(), lost(all)));
    [
        Family::gauge("pfnwatch_capacity_regressions", "Unresolved capacity regressions.").each("subject", counts),
        Family::gauge(
            "pfnwatch_capacity_regressed_bytes",
            "By how much reservations grew: of all namespaces, of a new namespace of 1 TiB on this host, or its DRAM that is not returned; what devices lost.",
        )
        .each("subject", bytes),
    ]
}
