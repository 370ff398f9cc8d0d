//! Times of ours beside those of a peer that does the same work.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Findings;

/// The times of several runs of the same work.
#[derive(Debug, PartialEq)]
pub(super) struct Times {
    min: Duration,
    median: Duration,
    runs: usize,
}

/// One measurement beside its peer, and its budget where it has one.
pub(super) struct Row {
    pub(super) what: String,
    pub(super) ours: Times,
    pub(super) peer: Times,
    pub(super) budget: Option<Duration>,
}

impl Times {
    /// Runs `work` so often and keeps what it says of its time.
    pub(super) fn of(runs: usize, work: impl Fn() -> Result<Duration>) -> Result<Self> {
        let mut times = (0..runs).map(|_| work()).collect::<Result<Vec<_>>>()?;
        times.sort_unstable();
        let (min, median) = times.first().zip(times.get(times.len() / 2)).context("nothing was run")?;
        Ok(Self { min: *min, median: *median, runs })
    }

    fn json(&self) -> Value {
        json!({ "min_us": micros(self.min), "median_us": micros(self.median), "runs": self.runs })
    }
}

impl Row {
    /// The median counts: a single quick run proves nothing, and a single slow one neither.
    fn is_missed(&self) -> bool {
        self.budget.is_some_and(|budget| self.ours.median > budget)
    }

    fn json(&self) -> Value {
        let budget = self.budget.map(micros);
        let (pfnwatch, shell) = (self.ours.json(), self.peer.json());
        json!({ "what": self.what, "pfnwatch": pfnwatch, "shell": shell, "budget_us": budget, "missed": self.is_missed() })
    }
}

/// The rows as findings.
pub(super) fn findings(rows: &[Row]) -> Findings {
    Findings {
        table: table(rows),
        report: json!({ "measurements": rows.iter().map(Row::json).collect::<Vec<_>>() }),
        missed: rows.iter().any(Row::is_missed),
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:24} {:>10} {:>10} {:>10}  {:8} {:>12} {:>12}\n",
        "pfnwatch", "min", "median", "budget", "", "shell min", "shell median"
    );
    for row in rows {
        let budget = row.budget.map_or_else(String::new, millis);
        let verdict = if row.is_missed() { "MISSED" } else { row.budget.map_or("", |_| "met") };
        let [min, median, peer_min, peer_median] =
            [row.ours.min, row.ours.median, row.peer.min, row.peer.median].map(millis);
        text += &format!(
            "{:24} {min:>10} {median:>10} {budget:>10}  {verdict:8} {peer_min:>12} {peer_median:>12}\n",
            row.what
        );
    }
    text
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn row(median_ms: u64, budget_ms: Option<u64>) -> Row {
        let times = || Times { min: Duration::from_millis(1), median: Duration::from_millis(median_ms), runs: 3 };
        Row { what: "work".into(), ours: times(), peer: times(), budget: budget_ms.map(Duration::from_millis) }
    }

    #[test]
    fn min_and_median_of_the_runs() {
        let next = Cell::new(0);
        let times = Times::of(5, || {
            next.set(next.get() + 7);
            Ok(Duration::from_millis(next.get() % 10))
        });
        // 7, 4, 1, 8, 5
        assert_eq!(times.unwrap(), Times { min: Duration::from_millis(1), median: Duration::from_millis(5), runs: 5 });
        assert!(Times::of(0, || Ok(Duration::ZERO)).is_err());
    }

    #[test]
    fn a_budget_is_met_or_missed_by_the_median() {
        assert!(!row(50, Some(50)).is_missed() && row(51, Some(50)).is_missed() && !row(51, None).is_missed());
        assert!(table(&[row(51, Some(50))]).contains("MISSED"));
        assert_eq!(row(51, Some(50)).json()["budget_us"], 50_000);
    }
}
