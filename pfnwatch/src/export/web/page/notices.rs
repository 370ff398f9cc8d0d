//! What must not be overlooked, at the top: everything that makes the rest of the page less than the truth, or less than what was
//! asked for.

use maud::{Markup, html};

use crate::model::capacity::describe;
use crate::model::view::View;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Bad,
    Mild,
}

pub(super) fn render(view: &View) -> Markup {
    html! {
        @for (weight, title, text) in notices(view) {
            div class=(match weight { Severity::Bad => "notice bad", Severity::Mild => "notice mild" }) role="alert" {
                strong { (title) } " " (text)
            }
        }
    }
}

fn notices(view: &View) -> Vec<(Severity, &'static str, String)> {
    let mut notices = observation(view);
    notices.extend(losses(view));
    notices.extend(guard(view));
    notices.extend(environment(view));
    notices
}

fn observation(view: &View) -> Vec<(Severity, &'static str, String)> {
    let agent = &view.status.agent;
    let mut notices = Vec::new();
    if !agent.observing {
        notices.push(match agent.ready {
            true => (
                Severity::Mild,
                "Idle.",
                format!("{}: there is no persistent memory to watch yet.", agent.blind_reason()),
            ),
            false => {
                (Severity::Bad, "Blind.", format!("What happens to namespaces is not seen: {}", agent.blind_reason()))
            }
        });
    }
    if let Err(problem) = &view.scan {
        notices.push((Severity::Bad, "The namespaces cannot be read.", problem.clone()));
    }
    let off: Vec<_> = view.programs.iter().filter(|it| !it.attached).map(|it| it.program.as_str()).collect();
    if !off.is_empty() {
        notices.push((
            Severity::Bad,
            "Not all programs are attached.",
            format!("Missing: {} (see below)", off.join(", ")),
        ));
    }
    notices
}

fn losses(view: &View) -> Option<(Severity, &'static str, String)> {
    let records = &view.status.records;
    let missed = records.missed;
    let counts = [
        (missed.lost, "records were lost because the ring buffer was full"),
        (missed.read_faults, "reads of kernel memory failed"),
        (missed.table_full, "attempts were not followed because too many were in flight"),
        (missed.unpaired, "attempts were seen in part"),
        (missed.guard_faults, "creations were allowed because the guard failed"),
        (missed.blocks_missed, "info blocks found no room"),
        (missed.returns_missed, "return probes did not fire"),
        (missed.swept, "attempts and writes of a uuid never ended"),
        (records.decode_errors, "records could not be decoded"),
    ];
    let said: Vec<_> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    (!said.is_empty())
        .then(|| (Severity::Bad, "Events are missing.", format!("Since the agent started {}.", said.join(", "))))
}

fn guard(view: &View) -> Option<(Severity, &'static str, String)> {
    let status = &view.status;
    status.is_enforce_without_effect().then(|| {
        let why = status.ineffective_reason.as_deref().unwrap_or("no reason is known");
        (Severity::Bad, "Enforcement is not effective.", format!("Oversize namespaces are not refused: {why}"))
    })
}

fn environment(view: &View) -> Vec<(Severity, &'static str, String)> {
    let mut notices = Vec::new();
    if let Some(configured) = view.status.mode.overridden() {
        let text = format!(
            "{} is in force since {}, set by {}; the configuration has {configured}",
            view.status.mode.mode, view.status.mode.since, view.status.mode.by
        );
        notices.push((Severity::Mild, "The mode is not the configuration's.", text));
    }
    for degraded in &view.status.degraded {
        let text = format!("{} since {}, and retried: {}", degraded.part, degraded.since, degraded.error);
        notices.push((Severity::Mild, "A part of the agent does not work.", text));
    }
    if let Some(error) = &view.status.policy.reload_error {
        notices.push((Severity::Bad, "The present configuration file was rejected.", error.clone()));
    }
    for skipped in &view.status.skipped_exemptions {
        let text = format!("{} ({}): {}", skipped.subject, skipped.reason, skipped.skip_reason);
        notices.push((Severity::Mild, "An exemption is not in force.", text));
    }
    if let Some(error) = &view.store.error {
        notices.push((Severity::Bad, "The event store cannot be written.", error.clone()));
    }
    for receiver in &view.alerts {
        if let Some(error) = &receiver.error {
            notices.push((Severity::Bad, "Alerts are not delivered.", format!("{}: {error}", receiver.receiver)));
        }
        if receiver.given_up > 0 {
            let detail =
                format!("{}: {} messages that were dropped; the log has them", receiver.receiver, receiver.given_up);
            notices.push((Severity::Bad, "Alerts were given up.", detail));
        }
    }
    let regressed = view.regressions.iter().map(describe);
    notices.extend(regressed.map(|text| (Severity::Bad, "Capacity regressed.", text)));
    notices
}
