//! The kinds of events, by the `event` of their JSON.

use super::Body;

impl Body {
    /// Every kind, in the order of the variants.
    pub const KINDS: [&'static str; 29] = [
        "set_up",
        "probe",
        "claim",
        "unbind",
        "label",
        "destroy",
        "denied",
        "would_deny",
        "exempt",
        "unjudged",
        "found",
        "capacity_regression",
        "capacity_regression_ended",
        "baseline_accepted",
        "mode_changed",
        "policy_loaded",
        "policy_refused",
        "exemption_granted",
        "exemption_spent",
        "exemption_ended",
        "guard_state",
        "guard_taken_over",
        "guard_released",
        "ready",
        "max_struct_page",
        "blind",
        "lost",
        "undecoded",
        "stopped",
    ];

    /// Its kind: the `event` of its JSON.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SetUp(_) => "set_up",
            Self::Probe(_) => "probe",
            Self::Claim(_) => "claim",
            Self::Unbind(_) => "unbind",
            Self::Label(_) => "label",
            Self::Destroy(_) => "destroy",
            Self::Denied(_) => "denied",
            Self::WouldDeny(_) => "would_deny",
            Self::Exempt(_) => "exempt",
            Self::Unjudged(_) => "unjudged",
            Self::Found(_) => "found",
            Self::CapacityRegression(_) => "capacity_regression",
            Self::CapacityRegressionEnded(_) => "capacity_regression_ended",
            Self::BaselineAccepted(_) => "baseline_accepted",
            Self::ModeChanged(_) => "mode_changed",
            Self::PolicyLoaded(_) => "policy_loaded",
            Self::PolicyRefused(_) => "policy_refused",
            Self::ExemptionGranted(_) => "exemption_granted",
            Self::ExemptionSpent(_) => "exemption_spent",
            Self::ExemptionEnded(_) => "exemption_ended",
            Self::GuardState(_) => "guard_state",
            Self::GuardTakenOver(_) => "guard_taken_over",
            Self::GuardReleased(_) => "guard_released",
            Self::Ready(_) => "ready",
            Self::MaxStructPage(_) => "max_struct_page",
            Self::Blind(_) => "blind",
            Self::Lost(_) => "lost",
            Self::Undecoded(_) => "undecoded",
            Self::Stopped(_) => "stopped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Blind, LostRecords, RecordTotals};

    #[test]
    fn kinds_are_what_json_says() {
        let reason = "why".to_owned();
        for body in
            [Body::Blind(Blind { reason }), Body::Lost(LostRecords::default()), Body::Stopped(RecordTotals::default())]
        {
            assert_eq!(serde_json::to_value(&body).unwrap()["event"], body.kind());
            assert!(Body::KINDS.contains(&body.kind()));
        }
    }

    #[test]
    fn each_kind_is_there_once() {
        let kinds: std::collections::BTreeSet<_> = Body::KINDS.into_iter().collect();
        assert_eq!(kinds.len(), Body::KINDS.len());
    }
}
