//! Why an enabled namespace has less usable bytes than its size.

use crate::model::scan_result::AssessedNamespace;
use crate::model::units::Bytes;
use crate::model::verdict::Verdict;
use crate::model::why::{Answer, FailureCause, FailureEvidence, Finding};

/// What its size consists of.
#[must_use]
pub fn of_enabled(judged: &AssessedNamespace) -> Finding {
    let (name, assessment) = (&judged.namespace.name, &judged.assessment);
    let numbers = &assessment.numbers;
    let sum = match (numbers.size, numbers.usable, numbers.reservation) {
        (Some(size), Some(usable), Some(reservation)) => {
            let end = numbers.end_trunc.filter(|bytes| *bytes > 0);
            let end = end.map_or_else(String::new, |bytes| format!(", {} cut off at the end", Bytes(bytes)));
            format!("{}: {} reserved{end}, {} usable; ", Bytes(size), Bytes(reservation), Bytes(usable))
        }
        _ => String::new(),
    };
    let (cause, next) = match assessment.verdict {
        Verdict::Oversize => (FailureCause::Oversize, "sudo pfnwatch plan".to_owned()),
        Verdict::Unknown => (FailureCause::Unknown, "sudo pfnwatch scan".to_owned()),
        Verdict::Ok | Verdict::Refused => (FailureCause::SizeExplained, "sudo pfnwatch scan".to_owned()),
    };
    Finding {
        namespace: Some(name.clone()),
        device: judged.namespace.holder.as_ref().ok().map(|holder| holder.name.clone()),
        evidence: FailureEvidence::Sysfs,
        time: None,
        quote: None,
        answer: Answer::new(cause, format!("{sum}{}", assessment.detail), next),
    }
}
