//! A namespace that was made, and what the policy would have done about it.

use std::time::SystemTime;

use pfnwatch_common::Map;
use serde::Serialize;
use uuid::Uuid;

use crate::model::inventory::{AttributeError, Region};
use crate::model::policy::{Mode, Policy};
use crate::model::scan_result::{AssessedNamespace, ScanResult};
use crate::model::units::Bytes;
use crate::model::verdict::Verdict;
use crate::policy::judge::{Decision, MatchContext, NO_COOKIE, identifying_cookie};

/// What the policy would have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PolicyOutcome"))]
#[serde(rename_all = "snake_case")]
pub(super) enum PolicyOutcome {
    /// It would have been refused: the mode is enforce.
    Denied,
    /// It would have been reported: the mode is audit.
    WouldDeny,
    /// It is oversize, and an exemption allows it.
    Exempt,
    /// It is not oversize.
    Passes,
    /// The outcome is unknown.
    Unknown,
}

impl PolicyOutcome {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "DENIED",
            Self::WouldDeny => "WOULD DENY",
            Self::Exempt => "exempt",
            Self::Passes => "passes",
            Self::Unknown => "unknown",
        }
    }
}

/// One creation. What is not known is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Creation {
    /// When, for one out of events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<String>,
    /// The event that the agent recorded, if it comes from events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<String>,
    /// `namespace0.0`
    pub(super) namespace: Option<String>,
    /// The namespace uuid, the label's.
    pub(super) namespace_uuid: Option<Uuid>,
    /// Physical address of its first byte.
    pub(super) start_address: Option<u64>,
    /// Its size in bytes.
    pub(super) size_bytes: Option<u64>,
    /// The alignment of its usable part, in bytes.
    pub(super) align_bytes: Option<u64>,
    /// From its start to its first usable byte.
    pub(super) reservation_bytes: Option<u64>,
    /// The reservation of the same geometry at the reference struct page size.
    pub(super) ideal_bytes: Option<u64>,
    /// reservation - ideal, never negative.
    pub(super) excess_bytes: Option<u64>,
    /// What the policy would have done.
    pub(super) decision: PolicyOutcome,
    /// Why, in words.
    pub(super) detail: String,
}

/// The outcome of a decision, with its reason; `detail` describes the numbers.
pub(super) fn outcome(decision: Decision<'_>, mode: Mode, detail: String) -> (PolicyOutcome, String) {
    match decision {
        Decision::Allowed => (PolicyOutcome::Passes, detail),
        Decision::Exempt(exemption) => (PolicyOutcome::Exempt, format!("{detail}; exempt is {exemption}")),
        Decision::MaybeExempt(exemption) => {
            let unclear = "whether that covers it is not known: its region or its uuid could not be seen from here";
            (PolicyOutcome::Unknown, format!("{detail}; exempt is {exemption}; {unclear}"))
        }
        Decision::Denied if mode == Mode::Enforce => (PolicyOutcome::Denied, detail),
        Decision::Denied => (PolicyOutcome::WouldDeny, detail),
    }
}

pub(super) fn describe_excess(excess: u64, oversize: bool) -> String {
    match excess {
        0 => "nothing too much".to_owned(),
        _ if oversize => format!("{} too much", Bytes(excess)),
        _ => format!("{} too much, within the limits", Bytes(excess)),
    }
}

/// Everything that the policy was compared with.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Evaluation {
    /// `scan` or `events`.
    pub(super) what: &'static str,
    /// How many of each outcome.
    pub(super) counts: Counts,
    /// Namespaces, or events of set-ups, that no guard judges: they have no memmap of their own on the persistent memory,
    /// or were there already.
    pub(super) unjudged: u64,
    /// Lines that are no events.
    pub(super) unreadable_lines: u64,
    /// What is wrong with the first of these.
    pub(super) first_unreadable: Option<String>,
    /// What it was compared with.
    pub(super) creations: Vec<Creation>,
}

/// How many of each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Counts {
    /// It would have been refused.
    pub(super) denied: u64,
    /// It would have been reported, since the mode is audit.
    pub(super) would_deny: u64,
    /// It is oversize, and an exemption allows it.
    pub(super) exempt: u64,
    /// It is not oversize.
    pub(super) passes: u64,
    /// The outcome is unknown.
    pub(super) unknown: u64,
    /// Total excess of the denied and would-be denied creations.
    pub(super) denied_excess_bytes: u64,
}

impl Evaluation {
    /// Counts creations.
    pub(super) fn new(what: &'static str, creations: Vec<Creation>, unjudged: u64) -> Self {
        let mut counts = Counts::default();
        for creation in &creations {
            let count = match creation.decision {
                PolicyOutcome::Denied => &mut counts.denied,
                PolicyOutcome::WouldDeny => &mut counts.would_deny,
                PolicyOutcome::Exempt => &mut counts.exempt,
                PolicyOutcome::Passes => &mut counts.passes,
                PolicyOutcome::Unknown => &mut counts.unknown,
            };
            *count = count.saturating_add(1);
            if matches!(creation.decision, PolicyOutcome::Denied | PolicyOutcome::WouldDeny) {
                let excess = creation.excess_bytes.unwrap_or(0);
                counts.denied_excess_bytes = counts.denied_excess_bytes.saturating_add(excess);
            }
        }
        Self { what, counts, unjudged, unreadable_lines: 0, first_unreadable: None, creations }
    }

    pub(super) const fn denies(&self) -> bool {
        self.counts.denied > 0 || self.counts.would_deny > 0
    }
}

/// Judges each namespace with map=dev as if it were created now with its reservation.
pub(super) fn evaluate(scan: &ScanResult, policy: &Policy, now: SystemTime) -> Evaluation {
    let (assessed, others): (Vec<_>, Vec<_>) = scan.namespaces.iter().partition(|assessed| may_hold_memmap(assessed));
    let creations = assessed.into_iter().map(|assessed| creation(assessed, &scan.regions, policy, now)).collect();
    Evaluation::new("scan", creations, u64::try_from(others.len()).unwrap_or(u64::MAX))
}

/// Whether its memmap is, or may be, on the persistent memory: that of a disabled namespace is unknown.
fn may_hold_memmap(assessed: &AssessedNamespace) -> bool {
    let may_reserve = assessed.facts.mode.reserves() || assessed.assessment.verdict == Verdict::Unknown;
    may_reserve && assessed.map() != Some(Map::Mem)
}

fn creation(assessed: &AssessedNamespace, regions: &[Region], policy: &Policy, now: SystemTime) -> Creation {
    let numbers = assessed.assessment.numbers;
    let excess = numbers.excess.filter(|_| assessed.map() == Some(Map::Dev));
    let oversize = match assessed.assessment.verdict {
        Verdict::Ok => Some(false),
        Verdict::Oversize => Some(true),
        Verdict::Refused | Verdict::Unknown => None,
    };
    let (decision, detail) = match oversize.zip(excess) {
        Some((oversize, excess)) => {
            let decision = policy.decide(oversize, &place(assessed, regions), now);
            let words = if oversize { assessed.assessment.detail.clone() } else { describe_excess(excess, false) };
            outcome(decision, policy.mode, words)
        }
        None => (PolicyOutcome::Unknown, assessed.assessment.detail.clone()),
    };
    Creation {
        time: None,
        event: None,
        namespace: Some(assessed.namespace.name.clone()),
        namespace_uuid: assessed.namespace.uuid.as_ref().ok().filter(|uuid| !uuid.is_nil()).copied(),
        start_address: assessed.facts.start,
        size_bytes: numbers.size,
        align_bytes: assessed.facts.align,
        reservation_bytes: numbers.reservation,
        ideal_bytes: numbers.ideal,
        excess_bytes: numbers.excess,
        decision,
        detail,
    }
}

/// The region is found by its current name: no address is needed, which only root can read.
fn place(assessed: &AssessedNamespace, regions: &[Region]) -> MatchContext {
    let region = regions.iter().find(|region| region.name == assessed.namespace.region);
    let cookie = |region: &Region| match region.set_cookie {
        Ok(cookie) => Some(identifying_cookie(cookie, regions.iter().filter_map(|it| it.set_cookie.clone().ok()))),
        Err(AttributeError::Absent | AttributeError::Unbound) => Some(NO_COOKIE),
        Err(_) => None,
    };
    MatchContext {
        namespace_uuid: match &assessed.namespace.uuid {
            Ok(uuid) => Some(*uuid),
            Err(AttributeError::Absent | AttributeError::Empty) => Some(Uuid::nil()),
            Err(_) => None,
        },
        region_set_cookie: region.and_then(cookie),
        region_start: region.and_then(|region| region.resource.clone().ok()),
    }
}
