//! Failures among the agent's events: denials, set-ups and probes that the kernel refused.

use serde::Deserialize;

use super::errno;
use crate::model::why::{Answer, FailureCause, FailureEvidence, Finding};

/// The kinds of events that can be failures.
pub const KINDS: [&str; 3] = ["denied", "set_up", "probe"];

/// What is read of an event; absent keys are unknown.
#[derive(Debug, Deserialize)]
struct Failure {
    event: String,
    time: String,
    device: Option<String>,
    namespace: Option<String>,
    region: Option<String>,
    outcome: Option<String>,
    result: Option<String>,
    setup_code: Option<i32>,
    bind_code: Option<i32>,
    size_bytes: Option<u64>,
    /// Of a set-up or a probe.
    meaning: Option<String>,
    /// Of a denial.
    detail: Option<String>,
    #[serde(default)]
    remedies: Vec<String>,
}

/// A device that was enabled: what failed before is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enabled {
    pub namespace: Option<String>,
    pub device: Option<String>,
    /// RFC 3339 in UTC, with microseconds: later times are greater texts.
    pub time: String,
}

/// What an event means for the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    Failed(Finding),
    Enabled(Enabled),
}

/// What an event's JSON and its line for people mean; `None` if neither.
#[must_use]
pub fn of_event(json: &str, line: &str) -> Option<Recorded> {
    let failure: Failure = serde_json::from_str(json).ok()?;
    let ended = failure.outcome.as_deref().or(failure.result.as_deref());
    match (&*failure.event, ended) {
        ("denied", _) | ("set_up" | "probe", Some("refused" | "reserved_not_enabled")) => {}
        ("set_up" | "probe", Some("enabled")) => {
            let Failure { namespace, device, time, .. } = failure;
            return Some(Recorded::Enabled(Enabled { namespace, device, time }));
        }
        _ => return None,
    }
    Some(Recorded::Failed(Finding {
        answer: if failure.event == "denied" { denial(&failure) } else { refusal(&failure) },
        namespace: failure.namespace,
        device: failure.device,
        evidence: FailureEvidence::EventStore,
        time: Some(failure.time),
        // Further lines repeat what is in the answer.
        quote: line.lines().next().map(str::to_owned),
    }))
}

/// The last remedy with a command is the exemption.
fn denial(failure: &Failure) -> Answer {
    let command = failure.remedies.iter().rev().find_map(|remedy| remedy.split('`').nth(1));
    let reason = failure.detail.as_deref().unwrap_or("its reservation would be oversize");
    let alternatives = failure.remedies.join("; ");
    let explanation = if alternatives.is_empty() {
        format!("the guard denied the creation: {reason}")
    } else {
        format!("the guard denied the creation: {reason}; alternatives: {alternatives}")
    };
    let next = command.map_or_else(|| "sudo pfnwatch events --denied".to_owned(), |command| format!("sudo {command}"));
    Answer::new(FailureCause::DeniedByGuard, explanation, next)
}

fn refusal(failure: &Failure) -> Answer {
    let code = failure.setup_code.filter(|code| *code < 0).or(failure.bind_code).unwrap_or_default();
    let explanation = failure.meaning.clone().unwrap_or_else(|| errno::text(code.saturating_neg()));
    let cause = match errno::cause(code.saturating_neg()) {
        // nd_pfn_init has two reasons, and logs both: a read-only region is in the kernel's log.
        FailureCause::NoDeviceOrAddress if failure.event == "set_up" => FailureCause::AlignTooLarge,
        cause => cause,
    };
    let next = match (cause, &failure.region, failure.size_bytes) {
        (FailureCause::AlignTooLarge, Some(region), Some(size)) => {
            format!("pfnwatch predict --region {region} --size {size} --align 2M")
        }
        _ => failure.namespace.as_ref().map_or_else(
            || "sudo pfnwatch events".to_owned(),
            |namespace| format!("sudo pfnwatch events --namespace {namespace}"),
        ),
    };
    Answer::new(cause, explanation, next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn of(event: &Value) -> Option<Finding> {
        match of_event(&event.to_string(), "the line") {
            Some(Recorded::Failed(finding)) => Some(finding),
            _ => None,
        }
    }

    fn set_up(outcome: &str, code: i32) -> Value {
        json!({
            "event": "set_up", "time": "2026-11-23T05:43:43.627893Z", "device": "dax0.0", "namespace": "namespace0.1",
            "region": "region0", "outcome": outcome, "setup_code": code, "bind_code": code, "size_bytes": 1_073_741_824,
            "meaning": "no info block, and none was made: ENXIO"
        })
    }

    #[test]
    fn a_refused_set_up_has_the_causes_of_its_error() {
        let finding = of(&set_up("refused", -6)).unwrap();
        assert_eq!((finding.namespace.as_deref(), finding.device.as_deref()), (Some("namespace0.1"), Some("dax0.0")));
        assert_eq!(finding.answer.cause, FailureCause::AlignTooLarge);
        assert_eq!(finding.answer.next, "pfnwatch predict --region region0 --size 1073741824 --align 2M");
        for (code, cause) in [
            (-95, FailureCause::NotSupported),
            (-16, FailureCause::AddressRangeBusy),
            (-22, FailureCause::InvalidArgument),
            (-19, FailureCause::NoDevice),
            (-5, FailureCause::MemoryErrors),
            (-12, FailureCause::DriverFailed),
        ] {
            let answer = of(&set_up("refused", code)).unwrap().answer;
            assert_eq!(
                (answer.cause, &*answer.next),
                (cause, "sudo pfnwatch events --namespace namespace0.1"),
                "{code}"
            );
        }
        let reserved = json!({ "setup_code": 0, "bind_code": -16, "outcome": "reserved_not_enabled" });
        let mut event = set_up("", 0);
        event.as_object_mut().unwrap().extend(reserved.as_object().unwrap().clone());
        assert_eq!(of(&event).unwrap().answer.cause, FailureCause::AddressRangeBusy);
    }

    #[test]
    fn a_denial_has_its_reason_and_the_exemption() {
        let event = json!({
            "event": "denied", "time": "2026-11-23T05:43:43.627893Z", "device": "pfn0.0", "namespace": "namespace0.0",
            "detail": "4 MiB too much",
            "remedies": ["--map=mem: 2 MiB reserved", "an exemption: `pfnwatch allow --region region0 --once`, then try again"]
        });
        let answer = of(&event).unwrap().answer;
        assert_eq!(answer.cause, FailureCause::DeniedByGuard);
        assert!(answer.explanation.contains("4 MiB too much; alternatives: --map=mem"), "{}", answer.explanation);
        assert_eq!(answer.next, "sudo pfnwatch allow --region region0 --once");
        let bare = json!({ "event": "denied", "time": "2026-11-23T05:43:43Z" });
        assert_eq!(of(&bare).unwrap().answer.next, "sudo pfnwatch events --denied");
    }

    #[test]
    fn successes_and_other_events_are_no_failures() {
        let enabled = of_event(&set_up("enabled", 0).to_string(), "");
        assert!(matches!(enabled, Some(Recorded::Enabled(it)) if it.namespace.as_deref() == Some("namespace0.1")));
        assert_eq!(of(&json!({ "event": "probe", "time": "t", "result": "passed_on" })), None);
        assert_eq!(of(&json!({ "event": "would_deny", "time": "t" })), None);
        assert_eq!(of_event("no JSON", ""), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}", code in any::<i32>()) {
            let _ = of_event(&text, &text);
            let _ = of(&set_up("refused", code));
        }
    }
}
