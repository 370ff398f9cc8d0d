//! A bounded run of every fuzz target, each of which counts as a test.

use super::stage::{Counts, Done, StageResult};
use crate::fuzz;

/// Long enough for a regression of what was found once, short enough for every run.
const SECONDS: u64 = 4;

/// Builds and runs them all.
pub(super) fn run() -> Done {
    match fuzz::fuzz(None, SECONDS) {
        Ok(outcomes) => done(&outcomes),
        Err(error) => Done::failed(Counts::default(), format!("{error:#}")),
    }
}

fn done(outcomes: &[fuzz::FuzzResult]) -> Done {
    let failures = outcomes.iter().filter_map(|outcome| Some((&outcome.target, outcome.result.as_ref().err()?)));
    let failures: Vec<_> = failures.map(|(target, error)| format!("{target}: {error:#}")).collect();
    let counts = Counts { passed: outcomes.len() - failures.len(), failed: failures.len() };
    match failures.as_slice() {
        [] if outcomes.is_empty() => Done::failed(counts, "there is no fuzz target".to_owned()),
        [] => Done { counts, outcome: StageResult::Passed },
        failures => Done::failed(counts, failures.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_crash_fails_the_stage_and_names_its_target() {
        let outcome = |target: &str, result| fuzz::FuzzResult { target: target.into(), result };
        let failed = done(&[outcome("btf", Ok(9)), outcome("code", Err(anyhow!("its input is in x")))]);
        assert_eq!(failed.counts, Counts { passed: 1, failed: 1 });
        assert_eq!(failed.outcome, StageResult::Failed("code: its input is in x".into()));
        assert_eq!(done(&[outcome("btf", Ok(9))]).outcome, StageResult::Passed);
        assert!(matches!(done(&[]).outcome, StageResult::Failed(_)));
    }
}
