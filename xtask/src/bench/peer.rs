//! What our command takes beside what a peer takes that does the same work.

use std::time::Duration;

use guest::bench::cost::Cost;
use serde_json::{Value, json};

/// What a command takes.
#[derive(Clone, Copy)]
pub(super) struct Instructions {
    /// The run in the middle.
    pub(super) cost: Cost,
    /// System calls, where something counted them.
    pub(super) calls: Option<u64>,
}

/// One measurement beside its peer, and its budget where it has one.
pub(super) struct Row {
    pub(super) what: String,
    /// How many namespaces were looked at.
    pub(super) namespaces: u64,
    pub(super) ours: Instructions,
    pub(super) peer: Instructions,
    pub(super) budget: Option<Duration>,
}

impl Instructions {
    fn json(self) -> Value {
        json!({ "took_us": micros(self.cost.took), "peak_bytes": self.cost.peak_bytes, "system_calls": self.calls })
    }

    /// Its cells: time, time for each namespace, system calls, memory.
    fn cells(self, namespaces: u64) -> [String; 4] {
        let each = self.cost.took.as_secs_f64() * 1e6 / namespaces.max(1) as f64;
        let calls = self.calls.map_or_else(|| "-".to_owned(), |calls| calls.to_string());
        let mib = self.cost.peak_bytes as f64 / f64::from(1 << 20);
        [millis(self.cost.took), format!("{each:.1} us"), calls, format!("{mib:.1} MiB")]
    }
}

impl Row {
    pub(super) fn is_missed(&self) -> bool {
        self.budget.is_some_and(|budget| self.ours.cost.took > budget)
    }

    pub(super) fn json(&self, peer: &str) -> Value {
        json!({
            "what": self.what, "namespaces": self.namespaces,
            "pfnwatch": self.ours.json(), peer: self.peer.json(),
            "budget_us": self.budget.map(micros), "missed": self.is_missed(),
        })
    }
}

/// The rows for people: two lines each, ours above the peer's.
pub(super) fn table(peer: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "{:28} {:16} {:>12} {:>12} {:>10} {:>10} {:>9}\n",
        "", "", "time", "a namespace", "calls", "memory", "budget"
    );
    for row in rows {
        let budget = row.budget.map_or_else(String::new, millis);
        let verdict = if row.is_missed() { "MISSED" } else { row.budget.map_or("", |_| "met") };
        for (what, who, effort, budget, verdict) in
            [(row.what.as_str(), "pfnwatch scan", row.ours, budget.as_str(), verdict), ("", peer, row.peer, "", "")]
        {
            let [time, each, calls, memory] = effort.cells(row.namespaces);
            let line =
                format!("{what:28} {who:16} {time:>12} {each:>12} {calls:>10} {memory:>10} {budget:>9}  {verdict}");
            text += line.trim_end();
            text += "\n";
        }
    }
    text
}

/// For people.
pub(super) fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// For programs.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(took_ms: u64, budget_ms: Option<u64>) -> Row {
        let took = Duration::from_millis(took_ms);
        let effort = Instructions { cost: Cost { took, peak_bytes: 3 << 20 }, calls: Some(7) };
        let budget = budget_ms.map(Duration::from_millis);
        Row { what: "work".into(), namespaces: 1_000, ours: effort, peer: effort, budget }
    }

    #[test]
    fn a_budget_is_met_or_missed_by_the_median() {
        assert!(!row(50, Some(50)).is_missed() && row(51, Some(50)).is_missed() && !row(51, None).is_missed());
        let text = table("shell", &[row(51, Some(50))]);
        assert!(text.contains("MISSED") && text.contains("51.0 us") && text.contains("3.0 MiB"), "{text}");
        assert_eq!(row(51, Some(50)).json("shell")["budget_us"], 50_000);
    }
}
