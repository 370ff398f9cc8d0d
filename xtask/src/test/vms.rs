//! The VM tests as one stage: guests of several kernel lines run side by side.

use guest::boot_config::Soak;

use super::stage::{Counts, Done, Stage, StageResult, failures};
use crate::vm;

const LIMIT_S: u64 = 2400;

pub(super) fn stage() -> Stage {
    Stage::counted("VMs, all kernels", LIMIT_S, run)
}

fn run() -> Done {
    match vm::run(&vm::Args { kernel: vec!["all".to_owned()], filter: Vec::new(), soak: Soak::DEFAULT }) {
        Ok(tally) => done(&tally),
        Err(error) => Done::failed(Counts::default(), format!("{error:#}")),
    }
}

fn done(tally: &vm::Tally) -> Done {
    let counts = Counts { passed: tally.passed, failed: tally.failures.len() };
    match tally.not_run.as_slice() {
        _ if counts.failed > 0 => Done::failed(counts, failures(counts.failed, &tally.failures)),
        [] if counts.passed == 0 => Done::failed(counts, "no test was run".to_owned()),
        [] => Done { counts, outcome: StageResult::Passed },
        reasons => Done { counts, outcome: StageResult::NotRun(reasons.join("; ")) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(passed: usize, failed: usize, not_run: &[&str]) -> StageResult {
        let failures = (0..failed).map(|number| format!("test {number}")).collect();
        let not_run = not_run.iter().map(|why| (*why).to_owned()).collect();
        done(&vm::Tally { passed, failures, not_run, ..vm::Tally::default() }).outcome
    }

    #[test]
    fn a_line_that_is_gone_is_not_run_and_no_test_at_all_is_a_failure() {
        assert_eq!(outcome(3, 0, &[]), StageResult::Passed);
        assert_eq!(outcome(0, 0, &["5.10: gone"]), StageResult::NotRun("5.10: gone".into()));
        assert!(matches!(outcome(0, 0, &[]), StageResult::Failed(_)));
        assert!(matches!(outcome(3, 1, &[]), StageResult::Failed(_)));
    }
}
