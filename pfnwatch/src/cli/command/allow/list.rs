//! The exemptions in force, for people.

use std::time::Duration;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::model::status::{ExemptionOrigin, ExemptionStatus};

/// The list as JSON.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::cli::command) struct Exemptions<'a> {
    /// The exemptions in force.
    pub(super) exemptions: &'a [ExemptionStatus],
}

pub(in crate::cli::command) fn table(exemptions: &[ExemptionStatus]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["ID", "EXEMPT", "UNTIL", "REASON", "BY"]);
    for exemption in exemptions {
        table.add_row(row(exemption));
    }
    format!("{}\n", table.trim_fmt())
}

fn row(exemption: &ExemptionStatus) -> [String; 5] {
    let id = match exemption.origin {
        ExemptionOrigin::Allow => exemption.id.to_string(),
        // Its number is for the guard: nobody can revoke it by that.
        ExemptionOrigin::Policy => "policy".to_owned(),
    };
    let subject = match &exemption.region {
        Some(region) => format!("{region}: {}", exemption.subject),
        None => exemption.subject.to_string(),
    };
    [id, subject, end(exemption), exemption.reason.clone(), exemption.by.clone()]
}

fn end(exemption: &ExemptionStatus) -> String {
    let left = exemption.remaining_seconds.map(|seconds| humantime::format_duration(Duration::from_secs(seconds)));
    let until = match (&exemption.until, left) {
        (Some(until), Some(left)) => Some(format!("{until} ({left} left)")),
        (Some(until), None) => Some(until.to_string()),
        (None, _) => None,
    };
    match (exemption.once, until) {
        (true, Some(until)) => format!("one creation, or {until}"),
        (true, None) => "one creation".to_owned(),
        (false, Some(until)) => until,
        (false, None) => "the policy is changed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::policy::ExemptionSubject;

    #[test]
    fn each_end_is_said() {
        let mut exemption = ExemptionStatus {
            id: 7,
            origin: ExemptionOrigin::Allow,
            subject: ExemptionSubject::RegionStart(4 << 30),
            region: Some("region0".to_owned()),
            once: true,
            until: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            remaining_seconds: Some(90),
            reason: "why".to_owned(),
            by: "who".to_owned(),
        };
        assert_eq!(
            row(&exemption),
            [
                "7",
                "region0: the region that starts at 0x100000000",
                "one creation, or 2026-01-02T03:04:05Z (1m 30s left)",
                "why",
                "who"
            ]
        );
        exemption = ExemptionStatus { once: false, remaining_seconds: None, region: None, ..exemption };
        assert_eq!(end(&exemption), "2026-01-02T03:04:05Z");
        exemption = ExemptionStatus { until: None, origin: ExemptionOrigin::Policy, ..exemption };
        assert_eq!(row(&exemption)[..3], ["policy", "the region that starts at 0x100000000", "the policy is changed"]);
        assert_eq!(end(&ExemptionStatus { once: true, ..exemption }), "one creation");
    }
}
