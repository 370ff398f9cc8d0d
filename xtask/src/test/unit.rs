//! The unit tests of the crates that run on the host.

use std::time::Duration;

use anyhow::Result;

use super::stage::{Counts, Done, StageResult, failures};
use crate::toolchain;

/// The stage ends it earlier.
const LIMIT: Duration = Duration::from_secs(1800);

/// Runs them all, also after a failure. The end-to-end tests are left out by their package: they need a guest.
pub(super) fn run() -> Done {
    let (outcome, said) = toolchain::workspace_task("test", &["--no-fail-fast"]).limit(LIMIT).tee();
    counted(outcome, &said)
}

/// What libtest said, as a stage's end.
pub(super) fn counted(outcome: Result<()>, said: &str) -> Done {
    let counts = said.lines().filter_map(result).fold(Counts::default(), |sum, counts| sum + counts);
    let failed: Vec<_> = said.lines().filter_map(failed_test).collect();
    match outcome.err() {
        Some(error) if failed.is_empty() => Done::failed(counts, format!("{error:#}")),
        _ if counts.failed > 0 => Done::failed(counts, failures(counts.failed, &failed)),
        Some(error) => Done::failed(counts, format!("{error:#}")),
        None if counts.passed == 0 => Done::failed(counts, "no test was run".to_owned()),
        None => Done { counts, outcome: StageResult::Passed },
    }
}

/// libtest's `test result: ok. 12 passed; 0 failed; …`.
fn result(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |name: &str| {
        let part = numbers.split("; ").find_map(|part| part.strip_suffix(name))?;
        part.trim().parse().ok()
    };
    Some(Counts { passed: number(" passed")?, failed: number(" failed")? })
}

/// libtest's `test policy::reads ... FAILED`.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_named() {
        let said =
            "test one ... ok\ntest two::three ... FAILED\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0";
        let done = counted(Err(anyhow::anyhow!("cargo ended with 101")), said);
        assert_eq!(done.counts, Counts { passed: 1, failed: 1 });
        assert_eq!(done.outcome, StageResult::Failed("1 tests failed\ntwo::three".into()));
    }

    #[test]
    fn result_lines() {
        let line = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.27s";
        assert_eq!(result(line), Some(Counts { passed: 12, failed: 0 }));
        let line = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.27s";
        assert_eq!(result(line), Some(Counts { passed: 3, failed: 2 }));
        assert_eq!(result("test result ... ok"), None);
        assert_eq!(result("test result: ok. many passed; 0 failed"), None);
    }
}
