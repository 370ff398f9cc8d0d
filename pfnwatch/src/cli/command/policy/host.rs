//! The policy applied to the current namespaces of this host.

use std::time::SystemTime;

use pfnwatch_common::Map;
use uuid::Uuid;

use super::creation::{Creation, Evaluation, PolicyOutcome, describe_excess, outcome};
use crate::{
    model::{
        inventory::{AttributeError, Region},
        policy::Policy,
        scan_result::{AssessedNamespace, ScanResult},
        verdict::Verdict,
    },
    policy::judge::{MatchContext, NO_COOKIE, identifying_cookie},
};

/// Judges each namespace with map=dev as if it were created now with its reservation.
pub(super) fn evaluate(scan: &ScanResult, policy: &Policy, now: SystemTime) -> Evaluation {
    let (judged, others): (Vec<_>, Vec<_>) = scan.namespaces.iter().partition(|judged| may_hold_memmap(judged));
    let creations = judged.into_iter().map(|judged| creation(judged, &scan.regions, policy, now)).collect();
    Evaluation::new("scan", creations, u64::try_from(others.len()).unwrap_or(u64::MAX))
}

/// Whether its memmap is, or may be, on the persistent memory: that of a disabled namespace is unknown.
fn may_hold_memmap(judged: &AssessedNamespace) -> bool {
    let may_reserve = judged.facts.mode.reserves() || judged.assessment.verdict == Verdict::Unknown;
    may_reserve && judged.map() != Some(Map::Mem)
}

fn creation(judged: &AssessedNamespace, regions: &[Region], policy: &Policy, now: SystemTime) -> Creation {
    let numbers = judged.assessment.numbers;
    let excess = numbers.excess.filter(|_| judged.map() == Some(Map::Dev));
    let oversize = match judged.assessment.verdict {
        Verdict::Ok => Some(false),
        Verdict::Oversize => Some(true),
        Verdict::Refused | Verdict::Unknown => None,
    };
    let (decision, detail) = match oversize.zip(excess) {
        Some((oversize, excess)) => {
            let decision = policy.decide(oversize, &place(judged, regions), now);
            let words = if oversize { judged.assessment.detail.clone() } else { describe_excess(excess, false) };
            outcome(decision, policy.mode, words)
        }
        None => (PolicyOutcome::Unknown, judged.assessment.detail.clone()),
    };
    Creation {
        time: None,
        event: None,
        namespace: Some(judged.namespace.name.clone()),
        namespace_uuid: judged.namespace.uuid.as_ref().ok().filter(|uuid| !uuid.is_nil()).copied(),
        start_address: judged.facts.start,
        size_bytes: numbers.size,
        align_bytes: judged.facts.align,
        reservation_bytes: numbers.reservation,
        ideal_bytes: numbers.ideal,
        excess_bytes: numbers.excess,
        decision,
        detail,
    }
}

/// The region is found by its current name: no address is needed, which only root can read.
fn place(judged: &AssessedNamespace, regions: &[Region]) -> MatchContext {
    let region = regions.iter().find(|region| region.name == judged.namespace.region);
    let cookie = |region: &Region| match region.set_cookie {
        Ok(cookie) => Some(identifying_cookie(cookie, regions.iter().filter_map(|it| it.set_cookie.clone().ok()))),
        Err(AttributeError::Absent | AttributeError::Unbound) => Some(NO_COOKIE),
        Err(_) => None,
    };
    MatchContext {
        namespace_uuid: match &judged.namespace.uuid {
            Ok(uuid) => Some(*uuid),
            Err(AttributeError::Absent | AttributeError::Empty) => Some(Uuid::nil()),
            Err(_) => None,
        },
        region_set_cookie: region.and_then(cookie),
        region_start: region.and_then(|region| region.resource.clone().ok()),
    }
}
