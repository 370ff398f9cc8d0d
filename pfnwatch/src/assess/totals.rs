//! The sums of a host: many small excesses add up.

use super::{Assessment, Thresholds, Verdict};

/// Sums over the namespaces of a host, in bytes. What is not known of a namespace is not in them; `unknown` counts
/// those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NamespaceTotals {
    /// Namespaces.
    pub namespaces: u64,
    /// Those with the verdict oversize.
    pub oversize: u64,
    /// Those with the verdict refused.
    pub refused: u64,
    /// Those with the verdict unknown.
    pub unknown: u64,
    /// Their sizes.
    pub size_bytes: u64,
    /// What users can store in.
    pub usable_bytes: u64,
    /// What is reserved.
    pub reservation_bytes: u64,
    /// What should be.
    pub ideal_bytes: u64,
    /// What is reserved too much.
    pub excess_bytes: u64,
    /// What the running kernel has no use for.
    pub unused_bytes: u64,
    /// The sizes of the namespaces that have a reservation.
    #[serde(skip)]
    judged_bytes: u64,
}

impl NamespaceTotals {
    /// Adds one namespace. Sums stay at the largest number rather than wrap.
    pub fn add(&mut self, assessment: &Assessment) {
        let numbers = &assessment.numbers;
        let add = |sum: &mut u64, bytes: Option<u64>| *sum = sum.saturating_add(bytes.unwrap_or(0));
        add(&mut self.namespaces, Some(1));
        add(&mut self.oversize, Some(u64::from(assessment.verdict == Verdict::Oversize)));
        add(&mut self.refused, Some(u64::from(assessment.verdict == Verdict::Refused)));
        add(&mut self.unknown, Some(u64::from(assessment.verdict == Verdict::Unknown)));
        add(&mut self.size_bytes, numbers.size);
        add(&mut self.usable_bytes, numbers.usable);
        add(&mut self.reservation_bytes, numbers.reservation);
        add(&mut self.ideal_bytes, numbers.ideal);
        add(&mut self.excess_bytes, numbers.excess);
        add(&mut self.unused_bytes, numbers.unused);
        // What reserves nothing (raw, sector) must not make the excess of the others look small.
        let reserves = numbers.reservation.is_some_and(|bytes| bytes > 0);
        add(&mut self.judged_bytes, numbers.size.filter(|_| reserves));
    }

    /// Whether the host as a whole loses more than the share that makes a finding, though no namespace alone may.
    #[must_use]
    pub fn verdict(&self, thresholds: &Thresholds) -> Verdict {
        if self.oversize > 0 || thresholds.passed_by(self.excess_bytes, 0, self.judged_bytes) {
            Verdict::Oversize
        } else if self.refused > 0 {
            Verdict::Refused
        } else if self.unknown > 0 {
            Verdict::Unknown
        } else {
            Verdict::Ok
        }
    }
}
