//! The table of stages at the end of a test run.

use std::time::Duration;

use super::stage::{Row, StageResult};

/// Lines of a reason: who reads only a run's end is to learn from it which tests failed, and of what.
const REASON_LINES: usize = 70;
/// Of such a line.
const REASON_CHARS: usize = 600;

/// A line a stage: its name, outcome, tests, time and limit, and under it the reason where it did not pass; then what all of them
/// together took, some of them side by side, and might have.
pub(super) fn render(rows: &[Row], [took, total]: [Duration; 2]) -> String {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or_default().max("stage".len());
    let mut text = format!(
        "{:width$}  {:8}  {:>6}  {:>6}  {:>8}  {:>7}\n",
        "stage", "outcome", "passed", "failed", "time", "limit"
    );
    for row in rows {
        let (word, why) = match &row.outcome {
            StageResult::Passed => ("ok", None),
            StageResult::Failed(why) => ("FAILED", Some(why)),
            StageResult::NotRun(why) => ("not run", Some(why)),
        };
        let time = format!("{:.1} s", row.took.as_secs_f64());
        let line = format!(
            "{:width$}  {word:8}  {:>6}  {:>6}  {time:>8}  {:>7}\n",
            row.name,
            row.counts.passed,
            row.counts.failed,
            format!("{} s", row.limit.as_secs()),
        );
        text.push_str(&line);
        if let Some(why) = why {
            for line in why.lines().take(REASON_LINES) {
                text.push_str(&format!("    {}\n", line.chars().take(REASON_CHARS).collect::<String>()));
            }
        }
    }
    text.push_str(&format!("{} s of at most {} s in all\n", took.as_secs(), total.as_secs()));
    text
}

#[cfg(test)]
mod tests {
    use super::super::stage::Counts;
    use super::*;

    #[test]
    fn a_line_a_stage_and_the_reasons() {
        let row = |name: &str, outcome| Row {
            name: name.into(),
            outcome,
            counts: Counts { passed: 3, failed: 1 },
            took: Duration::from_millis(1250),
            limit: Duration::from_secs(60),
        };
        let text = render(
            &[row("one", StageResult::Passed), row("another", StageResult::Failed("why\nand which".into()))],
            [Duration::from_secs(2), Duration::from_secs(100)],
        );
        assert_eq!(
            text,
            "stage    outcome   passed  failed      time    limit\n\
             one      ok             3       1     1.2 s     60 s\n\
             another  FAILED         3       1     1.2 s     60 s\n    why\n    and which\n2 s of at most 100 s in all\n"
        );
    }
}
