//! An event as one line for people. Details are on indented lines below it.

use std::fmt::Write as _;

use pfnwatch_common::Map;
use pfnwatch_common::superblock::SuperblockKind;

use super::{device_line, guard_line};
use crate::model::event::{
    Actor, BlockState, Body, Event, LostRecords, MaxStructPageReport, MaxStructPageStatus, MemmapNotReturned,
    NamespaceChange, NamespaceId, ObservationState, Probe, ProbeResult, Ready, SetUp, SetUpOutcome, personality_name,
};
use crate::model::facts::map_name;
use crate::model::memmap_return::MemmapEvidence;
use crate::model::units::{Bytes, Plural};
use crate::model::verdict::Verdict;

/// The longest line of an event in characters, its time included. Indented lines may be longer: they have commands.
const MAX_CHARS: usize = 160;

pub fn of(event: &Event) -> String {
    let mut line = format!("{} ", event.time.seconds());
    line.push_str(&match &event.body {
        Body::SetUp(setup) => set_up(setup),
        Body::Probe(it) => probe(it),
        Body::Claim(it) => match &it.namespace {
            Some(namespace) => change("claim", it, &format!("{} claims {namespace}", it.device)),
            None => change("claim", it, &format!("{} claims nothing now", it.device)),
        },
        Body::Unbind(it) => change("disable", it, &subject(it)),
        Body::Label(it) => {
            let name = it.label_name.as_ref().map(|name| format!(" as {name:?}")).unwrap_or_default();
            change("label", it, &format!("{} gets {}{name}", it.device, Bytes(it.size_bytes.unwrap_or_default())))
        }
        Body::Destroy(it) => change("destroy", it, &it.device),
        Body::Denied(it) => guard_line::denied(it),
        Body::WouldDeny(it) => guard_line::not_denied("WOULD DENY", it),
        Body::Exempt(it) => guard_line::not_denied("exempt", it),
        Body::Unjudged(it) => guard_line::not_denied("UNJUDGED", it),
        Body::ExistingNamespace(it) => guard_line::existing_namespace(it),
        Body::ModeChanged(it) => guard_line::mode_changed(it),
        Body::PolicyLoaded(it) => guard_line::policy_loaded(it),
        Body::PolicyRefused(it) => guard_line::policy_refused(it),
        Body::ExemptionGranted(it) => guard_line::exemption("granted", it),
        Body::ExemptionSpent(it) => guard_line::exemption("spent", it),
        Body::ExemptionEnded(it) => guard_line::exemption("ended", it),
        Body::GuardState(it) => guard_line::state(it),
        Body::GuardTakenOver(it) => guard_line::handover("taken over from an earlier agent", it),
        Body::GuardReleased(it) => guard_line::handover("released", it),
        Body::Ready(it) => ready(it),
        Body::MaxStructPage(it) => max_struct_page(it),
        Body::CapacityRegression(it) => format!("REGRESSED {}", it.detail),
        Body::CapacityRegressionEnded(it) => format!("regained {}", it.detail),
        Body::MemmapNotReturned(it) => memmap_not_returned(it),
        Body::DeviceAppeared(it) => device_line::appeared(it),
        Body::DeviceChanged(it) => device_line::changed(it),
        Body::DeviceDisappeared(it) => device_line::disappeared(it),
        Body::MemoryLeftOnline(it) => device_line::left_online(it),
        Body::BaselineAccepted(it) => format!("accepted {}: {}{}", it.detail, it.reason, by_actor(it.by.as_ref())),
        Body::Blind(it) => format!("BLIND    {}", it.reason),
        Body::Lost(it) => format!("LOST     {}", lost(*it)),
        Body::DecodeError(it) => {
            format!("LOST     a record of {} was not decoded: {}", Bytes(it.length_bytes), it.reason)
        }
        Body::Stopped(it) => {
            format!("stopped  {} records, {} not decoded; {}", it.received, it.decode_errors, lost(it.missed))
        }
    });
    if event.uncommitted {
        line.push_str(" [not in the event store]");
    }
    fit(line)
}

/// Breaks a first line that is too long at the last separator that fits. The rest is indented.
fn fit(text: String) -> String {
    let head = text.lines().next().unwrap_or_default();
    let Some((limit, _)) = head.char_indices().nth(MAX_CHARS) else { return text };
    let (fits, _) = head.split_at(limit);
    let place = ["; ", ": ", ", ", " "].iter().find_map(|separator| {
        let at = fits.rfind(separator)?;
        // Right after the time and the kind of the event there is nothing to read on the line.
        (at > MAX_CHARS / 3).then_some(if *separator == "; " { at } else { at + separator.trim_end().len() })
    });
    let (line, rest) = text.split_at(place.unwrap_or(limit));
    format!("{line}\n    {}", rest.trim_start_matches([';', ' ']))
}

fn set_up(it: &SetUp) -> String {
    let kind = if it.block == BlockState::Made { "create" } else { "enable" };
    let mut line = format!("{kind:8} {}", namespace(it.namespace.as_ref(), it.personality, it.map));
    if let Some(sizes) = &it.sizes {
        // Writing to a String cannot fail.
        let _ = write!(
            line,
            ": reservation {}, usable {}",
            exact_bytes(sizes.reservation_bytes),
            exact_bytes(sizes.usable_bytes)
        );
    }
    line.push_str(match it.outcome {
        SetUpOutcome::Enabled => "",
        SetUpOutcome::Refused => "; NOT ENABLED",
        SetUpOutcome::ReservedNotEnabled => "; RESERVED, NOT ENABLED",
        SetUpOutcome::Unknown => "; outcome unknown",
    });
    let finding = it.judgement.as_ref().and_then(|found| Some((finding(found.verdict)?, found)));
    if let Some((word, _)) = finding {
        let _ = write!(line, "; {word}");
    }
    line.push_str(&by_actor(it.attempt.by.as_ref()));
    further_line(&mut line, &format!("{}, align {}; {}", it.attempt.device, Bytes(it.align_bytes), it.meaning));
    if let Some(bytes) = it.judgement.as_ref().and_then(|judged| judged.memmap_dram_bytes).filter(|bytes| *bytes > 0) {
        let _ = write!(line, "; {} of DRAM for the memmap", exact_bytes(bytes));
    }
    for further in finding.map(|(_, found)| found.detail.clone()).into_iter().chain(guard_line::prediction(it)) {
        further_line(&mut line, &further);
    }
    line
}

/// The verdict's word on a line, if there is something to report: a good set-up needs none.
pub(super) fn finding(verdict: Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Oversize => Some("OVERSIZE"),
        Verdict::Unknown => Some("verdict unknown"),
        Verdict::Refused => Some("REFUSED"),
        Verdict::Ok => None,
    }
}

pub(super) fn further_line(text: &mut String, what: &str) {
    let _ = write!(text, "\n    {what}");
}

/// A rounded size, and the exact bytes if these differ.
pub(super) fn exact_bytes(bytes: u64) -> String {
    let short = Bytes(bytes).to_string();
    if short.contains('.') { format!("{short} ({bytes} B)") } else { short }
}

fn probe(it: &Probe) -> String {
    let kind = match it.result {
        ProbeResult::Enabled | ProbeResult::SetUpNotSeen => "enable",
        ProbeResult::PassedOn | ProbeResult::Refused | ProbeResult::Unknown => "probe",
    };
    let found = match it.found_block {
        Some(true) => ", info block found",
        Some(false) => ", no info block",
        None => "",
    };
    format!(
        "{kind:8} {} as {}{found}; {}{}",
        on_namespace(it.namespace.as_ref()),
        it.attempt.device,
        it.meaning,
        by_actor(it.attempt.by.as_ref())
    )
}

fn on_namespace(namespace: Option<&NamespaceId>) -> String {
    namespace.map_or_else(
        || "no namespace".to_owned(),
        |namespace| format!("{} of {}", namespace.namespace, Bytes(namespace.size_bytes)),
    )
}

/// `namespace0.0 (1 GiB, fsdax, map=dev)`
pub(super) fn namespace(id: Option<&NamespaceId>, personality: SuperblockKind, map: Option<Map>) -> String {
    let (mode, map) = (personality_name(personality), map.map_or("none", map_name));
    match id {
        Some(id) => format!("{} ({}, {mode}, map={map})", id.namespace, Bytes(id.size_bytes)),
        None => format!("no namespace ({mode}, map={map})"),
    }
}

fn subject(it: &NamespaceChange) -> String {
    match &it.namespace {
        Some(namespace) if *namespace != it.device => format!("{} on {namespace}", it.device),
        _ => it.device.clone(),
    }
}

fn change(kind: &str, it: &NamespaceChange, what: &str) -> String {
    format!("{kind:8} {what}{}", by_actor(it.by.as_ref()))
}

fn memmap_not_returned(it: &MemmapNotReturned) -> String {
    let subject = match (&it.namespace, &it.device) {
        (Some(namespace), _) => format!("{} ({})", namespace.namespace, Bytes(namespace.size_bytes)),
        (None, Some(device)) => format!("{device} ({})", Bytes(it.range_size_bytes)),
        (None, None) => format!("{:#x} ({})", it.range_start_address, Bytes(it.range_size_bytes)),
    };
    let what = if it.evidence == MemmapEvidence::Release { "SUSPECTED LOSS" } else { "NOT RETURNED" };
    let most = if it.at_most { "at most " } else { "" };
    let mut line = format!(
        "{what} {most}{} of DRAM, memmap of {subject}; Linux {} ({}){}",
        Bytes(it.lost_bytes),
        it.kernel,
        it.evidence.as_str(),
        by_actor(it.by.as_ref())
    );
    further_line(&mut line, &format!("{} of {} bytes; a reboot returns them", it.lost_bytes, it.removed_bytes));
    line
}

/// A process chooses its own name, which must not look like another line.
pub(super) fn by_actor(actor: Option<&Actor>) -> String {
    actor.map_or_else(String::new, |actor| {
        let comm = actor.comm.replace(char::is_control, "?");
        format!("; by {comm} (pid {}, uid {})", actor.pid, actor.uid)
    })
}

fn ready(it: &Ready) -> String {
    let attached = it.programs.iter().filter(|program| program.attached).count();
    let mut line = match it.state {
        ObservationState::Observing => {
            format!("ready    observing Linux {} with {}", it.kernel, Plural(attached as u64, "program"))
        }
        ObservationState::Idle => format!("ready    idle on Linux {}", it.kernel),
    };
    for part in it.reason.iter().map(String::as_str) {
        let _ = write!(line, ": {part}");
    }
    for program in it.programs.iter().filter(|program| program.reason.is_some() || !program.attached) {
        let how = if program.attached { "sees less" } else { "is off" };
        let reason = program.reason.as_deref().unwrap_or("no reason known");
        let _ = write!(line, "; `{}` {how}: {reason}", program.program);
    }
    line
}

fn max_struct_page(it: &MaxStructPageReport) -> String {
    let MaxStructPageStatus { max_struct_page_size_bytes, evidence, conflicting_evidence, problems } = &it.status;
    let mut line = match (max_struct_page_size_bytes, evidence.first()) {
        (Some(bytes), Some(evidence)) => format!("kernel   reserves {bytes} B for each page ({evidence})"),
        (None, Some(evidence)) if !conflicting_evidence.is_empty() => {
            format!("kernel   CONFLICTING evidence of what it reserves for each page: {evidence}")
        }
        _ => {
            let reasons = [evidence.as_slice(), problems].concat().join("; ");
            format!("kernel   what it reserves for each page is not known for certain: {reasons}")
        }
    };
    for evidence in conflicting_evidence {
        let _ = write!(line, "; against it: {evidence}");
    }
    line
}

pub(crate) fn lost(it: LostRecords) -> String {
    let others = [
        (it.read_faults, "reads failed"),
        (it.table_full, "attempts not followed"),
        (it.unpaired, "attempts without a beginning or an end"),
        (it.guard_faults, "creations allowed by a fault of the guard"),
        (it.blocks_missed, "info blocks not remembered"),
        (it.returns_missed, "returns missed"),
        (it.swept, "unfinished attempts removed"),
    ];
    let others = others.iter().filter(|(count, _)| *count > 0);
    others.fold(format!("{} records lost", it.lost), |text, (count, what)| format!("{text}, {count} {what}"))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::model::event::{Blind, ProgramState, RecordTotals, Time};

    fn line(body: Body) -> String {
        of(&Event::at(Time(UNIX_EPOCH), body))
    }

    #[test]
    fn a_program_that_is_off_is_named_with_its_reason() {
        let ready = Ready {
            state: ObservationState::Observing,
            reason: None,
            kernel: "6.12".to_owned(),
            struct_page_size_bytes: Some(64),
            page_size_bytes: 4096,
            programs: vec![
                ProgramState { program: "bus_probe".to_owned(), attached: true, reason: None },
                ProgramState {
                    program: "label_update".to_owned(),
                    attached: false,
                    reason: Some("the kernel has no function x to probe".to_owned()),
                },
            ],
        };
        assert_eq!(
            line(Body::Ready(ready)),
            "1970-01-01T00:00:00Z ready    observing Linux 6.12 with 1 program; `label_update` is off: the kernel has \
             no function x to probe"
        );
    }

    #[test]
    fn what_is_missed_stands_out() {
        let blind = line(Body::Blind(Blind { reason: "libnvdimm was unloaded".to_owned() }));
        assert!(blind.contains("BLIND"), "{blind}");
        let lost = line(Body::Lost(LostRecords { lost: 3, ..LostRecords::default() }));
        assert!(lost.contains("LOST     3 records lost"), "{lost}");
        assert!(line(Body::Stopped(RecordTotals::default())).contains("0 records lost"));
    }

    #[test]
    fn only_counters_that_moved_are_listed() {
        assert_eq!(lost(LostRecords::default()), "0 records lost");
        let some = LostRecords { lost: 2, unpaired: 1, ..LostRecords::default() };
        assert_eq!(lost(some), "2 records lost, 1 attempts without a beginning or an end");
    }

    #[test]
    fn what_does_not_fit_is_indented() {
        let short = "x".repeat(MAX_CHARS);
        assert_eq!(fit(format!("{short}\n    {short}y")), format!("{short}\n    {short}y"), "only the first line");
        let (begin, end) = ("a".repeat(100), "b".repeat(80));
        assert_eq!(fit(format!("{begin}; {end}; c\n    d")), format!("{begin}\n    {end}; c\n    d"));
        assert_eq!(fit(format!("a; {begin}: {end}")), format!("a; {begin}:\n    {end}"), "not right at the beginning");
        assert_eq!(fit("é".repeat(161)), format!("{}\n    é", "é".repeat(160)));
    }

    #[test]
    fn a_size_that_is_no_whole_unit_is_given_to_the_byte() {
        assert_eq!(exact_bytes(1_054_867_456), "1006 MiB");
        assert_eq!(exact_bytes(18 << 20), "18 MiB");
        assert_eq!(exact_bytes((1 << 30) + 512), "1.0 GiB (1073742336 B)");
    }
}
