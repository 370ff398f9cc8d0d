//! The guard beside an empty program, and storms beside a hook with nothing on it.

use guest::bench::Round;
use serde_json::{Value, json};

use super::numbers::Numbers;
use super::ratio;

/// Of what something is the cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Per {
    /// One run of the program.
    Call,
    /// All runs of one bind, of which the last is the one for the link "driver".
    Bind,
}

/// Programs on the hook.
pub(super) struct OnHook {
    pub(super) what: &'static str,
    pub(super) per: Per,
    pub(super) empty: Numbers,
    pub(super) guard: Numbers,
    /// What the guard may cost more than the empty program.
    pub(super) budget: Option<f64>,
}

/// A storm as a whole.
pub(super) struct Storm {
    pub(super) what: &'static str,
    pub(super) none: Numbers,
    pub(super) empty: Numbers,
    pub(super) bpftrace: Numbers,
    pub(super) audit: Numbers,
    pub(super) enforce: Numbers,
}

impl Per {
    /// The cost by a round in which the work was done so often.
    pub(super) fn of(self, times: u16, round: &Round) -> f64 {
        ratio(round.run_instructions, if self == Self::Call { round.runs } else { times.into() })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Bind => "bind",
        }
    }
}

impl OnHook {
    fn more(&self) -> f64 {
        self.guard.median - self.empty.median
    }

    /// What is printed is what is judged: tenths of an instruction are the interrupts of other rounds.
    pub(super) fn is_missed(&self) -> bool {
        self.budget.is_some_and(|budget| self.more() > budget)
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "what": self.what, "per": self.per.word(),
            "empty_instructions": self.empty.json(), "guard_instructions": self.guard.json(),
            "more_instructions": self.more(), "budget_instructions": self.budget, "missed": self.is_missed(),
        })
    }
}

impl Storm {
    pub(super) fn json(&self) -> Value {
        json!({
            "what": self.what,
            "none_instructions": self.none.json(), "empty_instructions": self.empty.json(),
            "bpftrace_instructions": self.bpftrace.json(), "bpftrace_ratio": self.ratio(self.bpftrace),
            "audit_instructions": self.audit.json(), "enforce_instructions": self.enforce.json(),
            "empty_ratio": self.ratio(self.empty), "audit_ratio": self.ratio(self.audit),
            "enforce_ratio": self.ratio(self.enforce),
        })
    }

    fn ratio(&self, numbers: Numbers) -> f64 {
        numbers.median / self.none.median
    }
}

/// The first table.
pub(super) fn on_hook(rows: &[OnHook]) -> String {
    let mut text = format!("{:40} {:>9} {:>9} {:>9} {:>9}\n", "on the hook", "empty", "guard", "more", "budget");
    for row in rows {
        let what = format!("{}, a {}", row.what, row.per.word());
        let budget = row.budget.map_or_else(String::new, |budget| format!("{budget:.1}"));
        let verdict = if row.is_missed() { "MISSED" } else { row.budget.map_or("", |_| "met") };
        let (empty, guard, more) = (row.empty.median, row.guard.median, row.more());
        let line = format!("{what:40} {empty:>9.1} {guard:>9.1} {more:>9.1} {budget:>9}  {verdict}");
        text += line.trim_end();
        text += "\n";
    }
    text
}

/// The second table.
pub(super) fn storms(rows: &[Storm]) -> String {
    let mut text = format!(
        "{:40} {:>10} {:>9} {:>9} {:>9} {:>9}\n",
        "the whole, with the hook", "no program", "empty", "audit", "enforce", "bpftrace"
    );
    for row in rows {
        let others = [row.empty, row.audit, row.enforce, row.bpftrace];
        let [empty, audit, enforce, bpftrace] = others.map(|numbers| row.ratio(numbers));
        let none = row.none.median;
        text += &format!("{:40} {none:>10.0} {empty:>9.4} {audit:>9.4} {enforce:>9.4} {bpftrace:>9.4}\n", row.what);
    }
    text
}
