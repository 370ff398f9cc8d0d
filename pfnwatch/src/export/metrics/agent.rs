//! The agent itself and its kernel.

use super::encode::Family;
use crate::model::{
    status::{AgentStatus, MemoryStatus},
    view::View,
};

pub(super) fn families(view: &View) -> Vec<Family> {
    let agent = &view.status.agent;
    let mut families = vec![
        Family::info("pfnwatch_build", "The agent.").with(vec![("version", agent.version.clone())], 1_u64),
        Family::gauge("pfnwatch_agent_start_time_seconds", "When the agent started, in seconds since 1970.")
            .value(agent.started.unix_seconds()),
        Family::gauge("pfnwatch_observing", "1 while the programs are attached.").value(agent.observing),
        Family::gauge("pfnwatch_ready", "1 where /readyz says so.").value(view.ready().is_ok()),
        memory(agent),
        Family::counter("pfnwatch_degraded_errors", "Errors of the agent's parts that it went on without, by part.")
            .each("part", view.degraded.iter().map(|(part, count)| (part.to_string(), *count))),
        Family::counter("pfnwatch_agent_evictions", "What the agent has dropped because there was too much of it.")
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

fn kernel(view: &View) -> [Family; 4] {
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
    ]
}

fn config(view: &View) -> [Family; 2] {
    let policy = &view.status.policy;
    [
        Family::info("pfnwatch_config", "The configuration in force, by the start of its file's SHA-256.")
            .with(vec![("hash", policy.hash.clone())], 1_u64),
        Family::gauge("pfnwatch_config_last_reload_successful", "0 where the file as it is now was not taken.")
            .value(policy.reload_error.is_none()),
    ]
}

/// The kernel counts runs only if `kernel.bpf_stats_enabled` is 1.
fn programs(view: &View) -> [Family; 3] {
    let attached = view.programs.iter().map(|it| (it.program.clone(), it.attached));
    let runs = view.runs.iter().map(|it| (it.program.clone(), it.count));
    let time = view.runs.iter().map(|it| (it.program.clone(), in_seconds(it.time_ns)));
    [
        Family::gauge("pfnwatch_program_attached", "1 where the eBPF program is attached.").each("program", attached),
        Family::counter("pfnwatch_program_runs", "How often the program ran, where the kernel counts that.")
            .each("program", runs),
        Family::counter("pfnwatch_program_run_seconds", "For how long it ran, where the kernel counts that.")
            .each("program", time),
    ]
}

/// Nanoseconds as seconds. The rounding error of an f64 is below a nanosecond for the first 100 days.
fn in_seconds(nanoseconds: u64) -> f64 {
    std::time::Duration::from_nanos(nanoseconds).as_secs_f64()
}
