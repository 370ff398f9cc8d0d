//! A stage: some work with a time limit, which may depend on earlier stages.

use std::ops::Add;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::process;

/// How long work that was told to end may take for it.
const GRACE: Duration = Duration::from_secs(15);

type Work = Box<dyn FnOnce() -> Done + Send>;

/// Passed and failed tests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

/// What a stage's work leaves.
pub(super) struct Done {
    /// What it counted, also of work that went wrong half-way.
    pub(super) counts: Counts,
    /// Why it went wrong, or what it left out.
    pub(super) outcome: StageResult,
}

/// How a stage ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum StageResult {
    Passed,
    /// With the reason.
    Failed(String),
    /// With the reason.
    NotRun(String),
}

/// Work with a name and a limit.
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) limit: Duration,
    /// Stages without whose success this one makes no sense.
    pub(super) needs: &'static [&'static str],
    /// Whether the stages after it need not wait until it has ended, but for those that need it.
    beside: bool,
    work: Work,
}

/// A line of the table at the end.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) outcome: StageResult,
    pub(super) counts: Counts,
    pub(super) took: Duration,
    pub(super) limit: Duration,
}

impl Stage {
    /// A check, which counts as one test.
    pub(super) fn check(name: &str, limit_s: u64, work: fn() -> Result<()>) -> Self {
        Self::counted(name, limit_s, move || match work() {
            Ok(()) => Done { counts: Counts { passed: 1, failed: 0 }, outcome: StageResult::Passed },
            Err(error) => Done::failed(Counts::default(), format!("{error:#}")),
        })
    }

    /// Work that counts its tests itself.
    pub(super) fn counted(name: &str, limit_s: u64, work: impl FnOnce() -> Done + Send + 'static) -> Self {
        Self {
            name: name.to_owned(),
            limit: Duration::from_secs(limit_s),
            needs: &[],
            beside: false,
            work: Box::new(work),
        }
    }

    /// To be run beside those that come after it.
    pub(super) fn beside(self) -> Self {
        Self { beside: true, ..self }
    }

    /// To be run only after these have passed.
    pub(super) fn after(self, needs: &'static [&'static str]) -> Self {
        Self { needs, ..self }
    }

    fn run(self) -> Row {
        eprintln!("\n== {} (at most {} s)", self.name, self.limit.as_secs());
        let start = Instant::now();
        let done = within(self.limit, self.work, [process::end_all, process::kill_all]);
        if let StageResult::Failed(why) = &done.outcome {
            eprintln!("{}: {why}", self.name);
        }
        Row { name: self.name, outcome: done.outcome, counts: done.counts, took: start.elapsed(), limit: self.limit }
    }

    fn not_started(self, outcome: StageResult, failed: usize) -> Row {
        let counts = Counts { passed: 0, failed };
        Row { name: self.name, outcome, counts, took: Duration::ZERO, limit: self.limit }
    }
}

impl Done {
    /// Failed work counts as one failed test at least.
    pub(super) fn failed(counts: Counts, why: String) -> Self {
        let failed = counts.failed.max(1);
        Self { counts: Counts { failed, ..counts }, outcome: StageResult::Failed(why) }
    }
}

/// A stage's reason that names each failed test.
pub(super) fn failures<S: AsRef<str>>(failed: usize, tests: &[S]) -> String {
    tests.iter().fold(format!("{failed} tests failed"), |text, test| text + "\n" + test.as_ref())
}

/// Runs the stages in turn; one whose needs are not met is not run, and none gets more time than is left of the total.
pub(super) fn run_all(stages: Vec<Stage>, total: Duration) -> Vec<Row> {
    let start = Instant::now();
    let mut rows: Vec<Row> = Vec::new();
    let mut beside: Vec<(String, JoinHandle<Row>)> = Vec::new();
    for stage in stages {
        for (_, running) in beside.extract_if(.., |(name, _)| stage.needs.contains(&name.as_str())) {
            rows.extend(running.join());
        }
        let passed = |needed: &str| rows.iter().any(|row| row.name == needed && row.outcome == StageResult::Passed);
        let missing = stage.needs.iter().find(|needed| !passed(needed));
        let row = match (missing, total.checked_sub(start.elapsed())) {
            (Some(missing), _) => stage.not_started(StageResult::NotRun(format!("needs {missing}")), 0),
            // A stage that time was too short for has not passed: the run as a whole must not look as if it had.
            (None, None) => stage.not_started(StageResult::Failed("no time was left for it".to_owned()), 1),
            (None, Some(left)) => {
                let stage = Stage { limit: stage.limit.min(left), ..stage };
                if stage.beside {
                    beside.push((stage.name.clone(), thread::spawn(|| stage.run())));
                    continue;
                }
                stage.run()
            }
        };
        rows.push(row);
    }
    // Its work's panic is a failed row: its thread has none of its own.
    rows.extend(beside.into_iter().flat_map(|(_, running)| running.join()));
    rows
}

/// Does the work in a thread of its own. At the limit every command that runs is told to end, with all that those
/// have started, and then made to, those of a stage beside it too; work that does not end even then is left behind.
fn within(limit: Duration, work: Work, [end, kill]: [fn(); 2]) -> Done {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    let too_long = |counts| Done::failed(counts, format!("took longer than its limit of {} s", limit.as_secs()));
    match ended.recv_timeout(limit) {
        Ok(done) => done,
        Err(mpsc::RecvTimeoutError::Disconnected) => Done::failed(Counts::default(), anyhow!("panicked").to_string()),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            end();
            let late = ended.recv_timeout(GRACE);
            kill();
            too_long(late.map_or_else(|_| Counts::default(), |done| done.counts))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing() -> Result<()> {
        Ok(())
    }

    fn failing() -> Result<()> {
        Err(anyhow!("the reason"))
    }

    #[test]
    fn one_that_failed_stops_only_what_needs_it() {
        let rows = run_all(
            vec![
                Stage::check("a", 5, failing),
                Stage::check("b", 5, passing).after(&["a"]),
                Stage::check("c", 5, passing),
                Stage::check("d", 5, passing).after(&["c"]),
            ],
            Duration::from_secs(9),
        );
        let outcomes: Vec<_> = rows.iter().map(|row| row.outcome.clone()).collect();
        let (failed, not_run) = (StageResult::Failed("the reason".into()), StageResult::NotRun("needs a".into()));
        assert_eq!(outcomes, [failed, not_run, StageResult::Passed, StageResult::Passed]);
        let total = rows.iter().fold(Counts::default(), |total, row| total + row.counts);
        assert_eq!(total, Counts { passed: 2, failed: 1 });
    }

    #[test]
    fn one_beside_the_others_is_waited_for_by_those_that_need_it() {
        let slow = || {
            thread::sleep(Duration::from_millis(50));
            Ok(())
        };
        let stages = |work: fn() -> Result<()>| {
            vec![
                Stage::check("slow", 5, work).beside(),
                Stage::check("other", 5, passing),
                Stage::check("after", 5, passing).after(&["slow"]),
                Stage::check("last", 5, slow).beside(),
            ]
        };
        let names = |rows: &[Row]| rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
        let rows = run_all(stages(slow), Duration::from_secs(9));
        assert_eq!(names(&rows), ["other", "slow", "after", "last"]);
        assert!(rows.iter().all(|row| row.outcome == StageResult::Passed), "{rows:?}");
        let rows = run_all(stages(failing), Duration::from_secs(9));
        assert_eq!(rows[2].outcome, StageResult::NotRun("needs slow".into()));
    }

    #[test]
    fn no_time_left_is_a_failure() {
        let slow = || {
            thread::sleep(Duration::from_millis(2));
            Ok(())
        };
        let stages = vec![Stage::check("a", 5, slow), Stage::check("b", 5, passing)];
        let rows = run_all(stages, Duration::from_millis(1));
        let [_, late] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((&late.outcome, late.counts.failed), (&StageResult::Failed("no time was left for it".into()), 1));
    }

    #[test]
    fn limit_is_kept() {
        let work = || {
            thread::sleep(Duration::from_millis(300));
            Done { counts: Counts { passed: 7, failed: 0 }, outcome: StageResult::Passed }
        };
        // Ending every command of this process would hit those of the other tests.
        let done = within(Duration::from_millis(10), Box::new(work), [|| (), || ()]);
        assert_eq!(done.outcome, StageResult::Failed("took longer than its limit of 0 s".into()));
        assert_eq!(done.counts, Counts { passed: 7, failed: 1 });
    }

    #[test]
    fn panic_is_a_failure() {
        let row = Stage::counted("panics", 5, || panic!("of the test itself")).run();
        assert_eq!((row.outcome, row.counts.failed), (StageResult::Failed("panicked".into()), 1));
    }
}
