//! Errors of the loop: one that ends the agent is [`Fatal`], one that the agent goes on with is [`Degraded`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use strum::VariantArray as _;

use crate::model::status::{DegradedPart, DegradedStatus};
use crate::model::timestamp::Timestamp;

/// The agent cannot go on. No other error converts to it by itself: each is either called fatal where it occurs, or is passed to
/// [`Degraded::note`].
#[derive(Debug)]
pub struct Fatal(anyhow::Error);

impl Fatal {
    pub(super) fn new(error: impl Into<anyhow::Error>) -> Self {
        Self(error.into())
    }

    /// What ended the agent, with its exit code.
    #[must_use]
    pub fn into_error(self) -> anyhow::Error {
        self.0
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

/// The parts of the agent that do not work at present, and how often each has failed.
#[derive(Debug, Default)]
pub(super) struct Degraded(BTreeMap<DegradedPart, Failures>);

#[derive(Debug, Default)]
struct Failures {
    count: u64,
    /// Since when, and why; `None` once it works again.
    current: Option<(SystemTime, String)>,
}

impl Degraded {
    /// Records the result of something that is retried. A failure is logged if the last result was none.
    pub(super) fn note<T>(&mut self, part: DegradedPart, now: SystemTime, result: anyhow::Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                if let Some(failures) = self.0.get_mut(&part)
                    && failures.current.take().is_some()
                {
                    tracing::info!("{part} work again");
                }
                Some(value)
            }
            Err(error) => {
                let failures = self.0.entry(part).or_default();
                failures.count = failures.count.saturating_add(1);
                let error = format!("{error:#}");
                match &mut failures.current {
                    Some((_, known)) => *known = error,
                    None => {
                        tracing::error!("{part} do not work, and are retried: {error}");
                        failures.current = Some((now, error));
                    }
                }
                None
            }
        }
    }

    /// The part is not needed at present.
    pub(super) fn forget(&mut self, part: DegradedPart) {
        if let Some(failures) = self.0.get_mut(&part) {
            failures.current = None;
        }
    }

    /// Whether the part failed the last time.
    pub(super) fn is_failing(&self, part: DegradedPart) -> bool {
        self.0.get(&part).is_some_and(|failures| failures.current.is_some())
    }

    /// The parts that do not work at present.
    pub(super) fn status(&self) -> Vec<DegradedStatus> {
        let status = |(part, failures): (&DegradedPart, &Failures)| {
            let (since, error) = failures.current.as_ref()?;
            Some(DegradedStatus { part: *part, since: Timestamp::from(*since), error: error.clone() })
        };
        self.0.iter().filter_map(status).collect()
    }

    /// How often each part has failed since the agent started.
    pub(super) fn counts(&self) -> BTreeMap<DegradedPart, u64> {
        let count = |part| self.0.get(part).map_or(0, |failures| failures.count);
        DegradedPart::VARIANTS.iter().map(|part| (*part, count(part))).collect()
    }
}
