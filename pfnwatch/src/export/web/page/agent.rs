//! The agent itself: its mode, its health, its programs.

use maud::{Markup, html};

use crate::model::event::{MaxStructPageStatus, ProgramState};
use crate::model::policy::Mode;
use crate::model::status::Status;
use crate::model::units::Bytes;
use crate::model::view::View;

pub(super) fn render(view: &View) -> Markup {
    html! {
        section aria-labelledby="agent" {
            h2 id="agent" { "The agent" }
            table.facts {
                thead { tr { th scope="col" { "What" } th scope="col" { "Status" } } }
                tbody { @for (name, value) in facts(view) { tr { th scope="row" { (name) } td { (value) } } } }
            }
            @if !view.programs.is_empty() { (programs(&view.programs)) }
        }
    }
}

fn facts(view: &View) -> Vec<(&'static str, String)> {
    let status = &view.status;
    let agent = &status.agent;
    let hours = humantime::format_duration(std::time::Duration::from_secs(agent.uptime_seconds));
    let mut facts = vec![
        ("Observing", if agent.observing { "yes".to_owned() } else { format!("no: {}", agent.blind_reason()) }),
        ("Mode", mode(status)),
        ("Guard", guard(status)),
        ("Kernel", kernel(&status.max_struct_page)),
        ("Memmaps in DRAM", format!("the kernel: {}", status.memmap_return.describe())),
        (
            "Records",
            format!("{} received, {} events reported", status.records.received, view.events.values().sum::<u64>()),
        ),
        (
            "Configuration",
            format!("{} ({})", status.policy.file.as_deref().unwrap_or("the defaults"), status.policy.hash),
        ),
        ("Event store", store(view)),
    ];
    let delivered =
        view.alerts.iter().map(|it| format!("{}: {} delivered, {} waiting", it.receiver, it.delivered, it.pending));
    facts.extend(delivered.map(|text| ("Alerts", text)));
    facts.extend(agent.memory.map(|memory| {
        let own = Bytes(memory.anonymous_bytes);
        ("Memory", format!("{own} of its own, {} of its binary", Bytes(memory.file_bytes)))
    }));
    facts.push(("Up", format!("{hours}, pid {}", agent.pid)));
    facts
}

fn mode(status: &Status) -> String {
    let words = match status.mode.mode {
        Mode::Audit => "audit: oversize namespaces are made, and reported",
        Mode::Enforce => "enforce: oversize namespaces are refused",
    };
    format!("{words} (set by {})", status.mode.by)
}

fn guard(status: &Status) -> String {
    let pinned = if status.guard.pinned { "pinned, " } else { "" };
    match (status.guard.judges, status.guard.armed) {
        (true, _) => format!("{pinned}armed, and seen to work"),
        (false, true) => format!("{pinned}armed, not seen to work: {}", or_none(status.guard.reason.as_deref())),
        (false, false) => format!("{pinned}judges nothing: {}", or_none(status.guard.reason.as_deref())),
    }
}

fn kernel(known: &MaxStructPageStatus) -> String {
    match known.max_struct_page_size_bytes {
        Some(bytes) => format!("reserves {bytes} B for each page"),
        None => "what it reserves for each page is not known".to_owned(),
    }
}

fn store(view: &View) -> String {
    let store = &view.store;
    match (&store.error, &store.file) {
        (Some(error), _) => format!("takes nothing: {error}"),
        (None, Some(file)) => {
            format!("{} events, {}, in {}", store.events, Bytes(store.size_bytes), file.display())
        }
        (None, None) => "none is kept".to_owned(),
    }
}

fn programs(programs: &[ProgramState]) -> Markup {
    let attached = programs.iter().filter(|it| it.attached).count();
    let notes: Vec<_> = programs.iter().filter(|it| it.reason.is_some() || !it.attached).collect();
    html! {
        h3 { (attached) " of " (programs.len()) " programs attached" }
        @if !notes.is_empty() {
            table {
                thead { tr { th scope="col" { "Program" } th scope="col" { "Note" } } }
                tbody {
                    @for program in notes {
                        tr class=[(!program.attached).then_some("loud")] {
                            td { (program.program) }
                            td { @if !program.attached { "not attached: " } (or_none(program.reason.as_deref())) }
                        }
                    }
                }
            }
        }
    }
}

fn or_none(reason: Option<&str>) -> &str {
    reason.unwrap_or("no reason is known")
}
