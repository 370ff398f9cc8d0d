//! The policy in words.

use std::fmt;

use crate::model::event::Time;
use crate::model::policy::{Exemption, ExemptionSubject, Mode, OnAgentExit, Policy};
use crate::model::thresholds::Thresholds;

impl Policy {
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let exit = self.on_agent_exit;
        let mut words = vec![
            format!("mode {}: {}", self.mode, describe_mode(self.mode)),
            format!("oversize is what would reserve {}", describe_limits(&self.thresholds)),
            format!("when the agent ends, {}: {}", exit.as_str(), describe_on_agent_exit(exit)),
        ];
        words.extend(self.exemptions.iter().map(|exemption| format!("exempt is {exemption}")));
        words
    }
}

#[must_use]
pub const fn describe_mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Audit => "an oversize namespace is made, and reported as one that enforce would have refused",
        Mode::Enforce => "an oversize namespace is refused before anything is written",
    }
}

#[must_use]
pub const fn describe_on_agent_exit(on_agent_exit: OnAgentExit) -> &'static str {
    match on_agent_exit {
        OnAgentExit::Release => "the guard ends with it, and nothing is refused",
        OnAgentExit::Hold => {
            "the guard stays and judges on, until the next agent takes over or `pfnwatch guard release` removes it"
        }
    }
}

/// Both limits, after "it would reserve".
#[must_use]
pub fn describe_limits(thresholds: &Thresholds) -> String {
    let Thresholds { reference_struct_page, aligns, parts_per_million } = *thresholds;
    let aligns = match aligns {
        1 => "its align".to_owned(),
        _ => format!("{aligns} times its align"),
    };
    let percent = percent(parts_per_million);
    format!(
        "more than {reference_struct_page} bytes for each page require, by more than {aligns} and by more than {percent} % \
         of the namespace"
    )
}

/// Millionths as percent, without the zeros at the end.
fn percent(parts_per_million: u64) -> String {
    let text = format!("{}.{:04}", parts_per_million / 10_000, parts_per_million % 10_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for ExemptionSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RegionCookie(cookie) => write!(f, "the region with set_cookie {cookie:#x}"),
            Self::RegionStart(start) => write!(f, "the region that starts at {start:#x}"),
            Self::Namespace(uuid) => write!(f, "the namespace with uuid {uuid}"),
        }
    }
}

impl fmt::Display for Exemption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, until, reason } = self;
        match until {
            Some(until) => write!(f, "{subject}, until {}: {reason}", Time(*until).seconds()),
            None => write!(f, "{subject}, without an end: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_policy_in_sentences() {
        let until = UNIX_EPOCH + Duration::from_secs(1_798_675_200);
        let exemption = |subject, until| Exemption { subject, until, reason: "a reason".to_owned() };
        let policy = Policy {
            mode: Mode::Enforce,
            thresholds: Thresholds { aligns: 2, ..Thresholds::default() },
            on_agent_exit: OnAgentExit::Hold,
            exemptions: vec![
                exemption(ExemptionSubject::RegionCookie(255), Some(until)),
                exemption(ExemptionSubject::RegionStart(16), None),
            ],
        };
        let words = policy.describe();
        assert_eq!(words[0], "mode enforce: an oversize namespace is refused before anything is written");
        assert!(
            words[1].ends_with("by more than 2 times its align and by more than 0.1 % of the namespace"),
            "{words:?}"
        );
        assert!(words[2].starts_with("when the agent ends, hold: the guard stays"), "{words:?}");
        assert_eq!(words[3], "exempt is the region with set_cookie 0xff, until 2026-12-31T00:00:00Z: a reason");
        assert_eq!(words[4], "exempt is the region that starts at 0x10, without an end: a reason");
    }

    #[test]
    fn percents() {
        for (parts_per_million, text) in [(0, "0"), (1, "0.0001"), (1000, "0.1"), (15_000, "1.5"), (1_000_000, "100")] {
            assert_eq!(percent(parts_per_million), text);
        }
    }
}
