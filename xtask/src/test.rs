//! `cargo xtask test`: every stage with its limit, a table of them, and one closing line.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use guest::boot_config::Soak;

use crate::peers::{self, FleetArgs};
use crate::process::{self, both};
use crate::{build_ebpf, check, dist, fuzz, setup, toolchain, vm};

/// What to test.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the virtual machines and the fuzz targets: a few minutes instead of most of an hour
    #[arg(long)]
    quick: bool,
}

/// The limit of all stages together, from an empty target folder on 2 processors.
const TOTAL: Duration = Duration::from_secs(45 * 60);
/// How long a command of the unit tests may take.
const UNIT_LIMIT: Duration = Duration::from_secs(1800);
/// How long each fuzz target runs: enough for a regression of an old finding, short enough for every run.
const FUZZ_SECONDS: u64 = 4;
/// Made-up hosts: enough for several releases of several hosts.
const HOSTS: u32 = 150;

/// Work with a name and a limit in seconds.
struct Stage {
    name: &'static str,
    limit_s: u64,
    /// The stages without whose success this one makes no sense.
    needs: &'static [&'static str],
    work: Box<dyn Fn() -> Done + Send>,
}

/// The result of a stage's work.
#[derive(Debug, Default, PartialEq)]
struct Done {
    passed: usize,
    failed: usize,
    outcome: Outcome,
}

/// How a stage ended; with the reason if it did not pass.
#[derive(Debug, Default, PartialEq)]
enum Outcome {
    #[default]
    Passed,
    Failed(String),
    NotRun(String),
}

/// A row of the table.
struct Row {
    limit_s: u64,
    done: Done,
    took: Duration,
}

/// Steps run one after the other, the lanes of a step side by side, the stages of a lane one after the other.
type Plan = Vec<Vec<Vec<Stage>>>;

fn stage(name: &'static str, limit_s: u64, needs: &'static [&'static str], work: fn() -> Done) -> Stage {
    Stage { name, limit_s, needs, work: Box::new(work) }
}

const SETUP: &str = "set-up";
const OBJECT: &str = "eBPF programs";
const AGENT: &str = "agent, and guests' files";

/// The checks that use cargo's folder for the host, one at a time; the others use those of the eBPF target, or none.
const ON_HOST: [&str; 2] = ["clippy, host", "documentation"];

/// Each lane waits for another resource: compiling the agent ends on one processor, kernels come over the network, fuzz targets are
/// compiled while Prometheus and the browser wait.
fn plan(quick: bool) -> Plan {
    let needed: fn() -> Done = if quick { || one(setup::for_unit_tests()) } else { || one(setup::for_test()) };
    let checks = check::ALL.iter().map(|check| {
        let needs: &[_] = if check.needs_object { &[OBJECT] } else { &[] };
        Stage { name: check.name, limit_s: check.limit_s, needs, work: Box::new(|| one((check.run)())) }
    });
    let unit = stage("unit tests", 600, &[OBJECT], || {
        let done = libtest(toolchain::workspace_task("test", &["--no-fail-fast"]).limit(UNIT_LIMIT).tee());
        let _reported_by_their_stages = toolchain::build_test_programs();
        done
    });
    let (mut host, others): (Vec<Stage>, Vec<Stage>) = checks.partition(|stage| ON_HOST.contains(&stage.name));
    host.push(unit);
    let first = vec![vec![stage(SETUP, 900, &[], needed), stage(OBJECT, 300, &[SETUP], || one(build_ebpf::run()))]];
    if quick {
        return vec![first, vec![host, others]];
    }
    let agent = stage(AGENT, 600, &[OBJECT], || one(both(vm::prepare, || build_ebpf::agent(true)).map(drop)));
    let fuzzing = stage("fuzzing", 600, &[OBJECT], || fuzzed(fuzz::fuzz(None, FUZZ_SECONDS)));
    let peers = vec![
        stage("web page and metrics", 400, &[OBJECT], || libtest(peers::web())),
        stage("alerts, Alertmanager", 200, &[OBJECT], || libtest(peers::alerts())),
        stage("fleet, simulated", 300, &[OBJECT], || {
            libtest(peers::fleet(&FleetArgs { hosts: HOSTS, released: false }))
        }),
        stage("Debian package", 240, &[AGENT], || one(dist::run().map(drop))),
    ];
    let machines = stage("VMs, all kernels", 2400, &[AGENT], || {
        guests(vm::run(&vm::Args { kernel: vec!["all".to_owned()], filter: Vec::new(), soak: Soak::DEFAULT }))
    });
    vec![first, vec![host, others, vec![agent]], vec![peers, vec![fuzzing]], vec![vec![machines]]]
}

/// Runs the stages and reports each.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let start = Instant::now();
    let rows = run_all(plan(args.quick), TOTAL, process::end_all);
    print!("\n{}", table(&rows, [start.elapsed(), TOTAL]));
    let (passed, failed) =
        rows.iter().fold((0, 0), |(passed, failed), (_, row)| (passed + row.done.passed, failed + row.done.failed));
    println!("{passed} passed, {failed} failed");
    Ok(if passed > 0 && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a plan; `end` ends all commands. A stage is not run without those that it needs, and fails if it exceeds its limit, or if the total is used up: then all
/// commands are ended, and no more stage begins.
fn run_all(plan: Plan, total: Duration, end: fn()) -> Vec<(&'static str, Row)> {
    let rows = Mutex::new(Vec::new());
    let start = Instant::now();
    let (finished, ended) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        // The other end is dropped when all stages have ended.
        if ended.recv_timeout(total) == Err(mpsc::RecvTimeoutError::Timeout) {
            end();
        }
    });
    for step in plan {
        thread::scope(|scope| {
            for lane in step {
                scope.spawn(|| lane.into_iter().for_each(|stage| run_one(&stage, start + total, &rows)));
            }
        });
    }
    drop(finished);
    let _ = watchdog.join();
    rows.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn run_one(stage: &Stage, deadline: Instant, rows: &Mutex<Vec<(&'static str, Row)>>) {
    let rows = || rows.lock().unwrap_or_else(PoisonError::into_inner);
    let passed = |needed: &str| rows().iter().any(|(name, row)| *name == needed && row.done.outcome == Outcome::Passed);
    let missing = stage.needs.iter().find(|needed| !passed(needed));
    let start = Instant::now();
    let done = match missing {
        Some(missing) => Done { outcome: Outcome::NotRun(format!("needs {missing}")), ..Done::default() },
        // The run as a whole must not look as if this stage had passed.
        None if start >= deadline => Done::failed("no time was left for it"),
        None => {
            eprintln!("\n== {} (at most {} s)", stage.name, stage.limit_s);
            catch_unwind(AssertUnwindSafe(&stage.work)).unwrap_or_else(|_| Done::failed("panicked"))
        }
    };
    let took = start.elapsed();
    let done = match &done.outcome {
        Outcome::Passed if took > Duration::from_secs(stage.limit_s) => done.but_failed("took longer than its limit"),
        _ => done,
    };
    if let Outcome::Failed(reason) = &done.outcome {
        eprintln!("{}: {reason}", stage.name);
    }
    rows().push((stage.name, Row { limit_s: stage.limit_s, done, took }));
}

impl Done {
    fn failed(reason: impl Into<String>) -> Self {
        Self::default().but_failed(reason)
    }

    /// Failed work counts as one failed test at least.
    fn but_failed(self, reason: impl Into<String>) -> Self {
        Self { failed: self.failed.max(1), outcome: Outcome::Failed(reason.into()), ..self }
    }

    /// Of tests, with the failed ones by name; no test at all is a failure.
    fn of(passed: usize, failed: usize, names: &[String]) -> Self {
        let done = Self { passed, failed, outcome: Outcome::Passed };
        match (passed, failed) {
            (0, 0) => done.but_failed("no test was run"),
            (_, 0) => done,
            _ => done.but_failed(format!("{failed} tests failed\n{}", names.join("\n"))),
        }
    }
}

/// A check, which counts as one test.
fn one(outcome: Result<()>) -> Done {
    outcome.map_or_else(|error| Done::failed(format!("{error:#}")), |()| Done::of(1, 0, &[]))
}

/// The fuzz targets, each of which counts as a test.
fn fuzzed(outcomes: Result<BTreeMap<String, Result<u64>>>) -> Done {
    let Ok(outcomes) = outcomes else { return one(outcomes.map(drop)) };
    let failed = outcomes.iter().filter_map(|(target, it)| Some(format!("{target}: {:#}", it.as_ref().err()?)));
    let failed: Vec<_> = failed.collect();
    Done::of(outcomes.len() - failed.len(), failed.len(), &failed)
}

fn guests(tally: Result<vm::Tally>) -> Done {
    let Ok(tally) = tally else { return one(tally.map(drop)) };
    match (tally.failures.len(), tally.not_run.as_slice()) {
        (0, [_, ..]) => Done { passed: tally.passed, failed: 0, outcome: Outcome::NotRun(tally.not_run.join("; ")) },
        (failed, _) => Done::of(tally.passed, failed, &tally.failures),
    }
}

/// What libtest printed.
fn libtest((outcome, output): (Result<()>, String)) -> Done {
    let (passed, failed) =
        output.lines().filter_map(counts).fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
    let name = |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned());
    let done = Done::of(passed, failed, &output.lines().filter_map(name).collect::<Vec<_>>());
    match outcome {
        Err(error) if failed == 0 => done.but_failed(format!("{error:#}")),
        _ => done,
    }
}

/// Passed and failed tests of libtest's `test result: ok. 12 passed; 0 failed; …`.
fn counts(line: &str) -> Option<(usize, usize)> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |name: &str| numbers.split("; ").find_map(|part| part.strip_suffix(name))?.trim().parse().ok();
    Some((number(" passed")?, number(" failed")?))
}

/// Lines of a reason, and characters of a line: who reads only a run's end learns from it which tests failed, and why.
const REASON: (usize, usize) = (70, 600);

/// A row for each stage, with the reason below it if it did not pass; then the time of all of them together.
fn table(rows: &[(&str, Row)], [took, total]: [Duration; 2]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default().max("stage".len());
    let mut text = format!(
        "{:width$}  {:8}  {:>6}  {:>6}  {:>8}  {:>7}\n",
        "stage", "outcome", "passed", "failed", "time", "limit"
    );
    for (name, Row { limit_s, done, took }) in rows {
        let (word, reason) = match &done.outcome {
            Outcome::Passed => ("ok", ""),
            Outcome::Failed(reason) => ("FAILED", reason.as_str()),
            Outcome::NotRun(reason) => ("not run", reason.as_str()),
        };
        let (time, limit) = (format!("{:.1} s", took.as_secs_f64()), format!("{limit_s} s"));
        text += &format!("{name:width$}  {word:8}  {:>6}  {:>6}  {time:>8}  {limit:>7}\n", done.passed, done.failed);
        for line in reason.lines().take(REASON.0) {
            text += &format!("    {}\n", line.chars().take(REASON.1).collect::<String>());
        }
    }
    text + &format!("{} s of at most {} s in all\n", took.as_secs(), total.as_secs())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    const NINE_SECONDS: Duration = Duration::from_secs(9);

    fn passing() -> Done {
        one(Ok(()))
    }

    fn slow() -> Done {
        thread::sleep(Duration::from_millis(50));
        passing()
    }

    fn outcomes(plan: Plan, total: Duration) -> BTreeMap<&'static str, Done> {
        // Ending every command of this process would hit those of the other tests.
        run_all(plan, total, || ()).into_iter().map(|(name, row)| (name, row.done)).collect()
    }

    #[test]
    fn quick_leaves_out_the_machines() {
        let names = |quick| plan(quick).into_iter().flatten().flatten().map(|stage| stage.name).collect::<Vec<_>>();
        assert!(names(false).iter().any(|name| name.starts_with("VM")));
        assert!(!names(true).iter().any(|name| name.starts_with("VM")));
    }

    #[test]
    fn checks_on_the_host_are_checks() {
        assert!(ON_HOST.iter().all(|name| check::ALL.iter().any(|check| check.name == *name)));
    }

    #[test]
    fn what_a_stage_needs_comes_in_an_earlier_step_or_before_it_in_its_lane() {
        let mut earlier: Vec<&str> = Vec::new();
        for step in plan(false) {
            let mut here = Vec::new();
            for lane in step {
                let mut before = earlier.clone();
                for stage in lane {
                    let missing = stage.needs.iter().find(|needed| !before.contains(needed));
                    assert_eq!(missing, None, "{}", stage.name);
                    before.push(stage.name);
                    here.push(stage.name);
                }
            }
            earlier.extend(here);
        }
    }

    #[test]
    fn one_that_failed_stops_only_what_needs_it() {
        let lane = vec![
            stage("a", 5, &[], || one(Err(anyhow!("the reason")))),
            stage("b", 5, &["a"], passing),
            stage("c", 5, &[], slow),
            stage("d", 5, &["c"], passing),
        ];
        let done = outcomes(vec![vec![lane, vec![stage("beside", 5, &[], slow)]]], NINE_SECONDS);
        assert_eq!(done["a"].outcome, Outcome::Failed("the reason".into()));
        assert_eq!(done["b"].outcome, Outcome::NotRun("needs a".into()));
        assert!(["c", "d", "beside"].iter().all(|name| done[name] == Done::of(1, 0, &[])), "{done:?}");
    }

    #[test]
    fn a_limit_the_total_and_a_panic_are_failures() {
        let done = |limit_s, total, work| outcomes(vec![vec![vec![stage("a", limit_s, &[], work)]]], total).remove("a");
        assert_eq!(done(0, NINE_SECONDS, slow), Some(passing().but_failed("took longer than its limit")));
        assert_eq!(done(5, Duration::ZERO, passing), Some(Done::failed("no time was left for it")));
        assert_eq!(done(5, NINE_SECONDS, || panic!("of the test itself")), Some(Done::failed("panicked")));
    }

    #[test]
    fn a_crash_of_a_fuzz_target_is_named() {
        let target = |name: &str, result| (name.to_owned(), result);
        let crash = [target("btf", Ok(9)), target("code", Err(anyhow!("its input is in x")))];
        let done = fuzzed(Ok(crash.into()));
        assert_eq!((done.passed, done.failed), (1, 1));
        assert_eq!(done.outcome, Outcome::Failed("1 tests failed\ncode: its input is in x".into()));
        assert_eq!(fuzzed(Ok([target("btf", Ok(9))].into())).outcome, Outcome::Passed);
        assert!(matches!(fuzzed(Ok(BTreeMap::new())).outcome, Outcome::Failed(_)));
    }

    #[test]
    fn a_line_that_is_gone_is_not_run_and_no_test_at_all_is_a_failure() {
        let outcome = |passed, failed: usize, not_run: &[&str]| {
            let failures = (0..failed).map(|number| format!("test {number}")).collect();
            let not_run = not_run.iter().map(|why| (*why).to_owned()).collect();
            guests(Ok(vm::Tally { passed, failures, not_run, ..vm::Tally::default() })).outcome
        };
        assert_eq!(outcome(3, 0, &[]), Outcome::Passed);
        assert_eq!(outcome(0, 0, &["5.10: gone"]), Outcome::NotRun("5.10: gone".into()));
        assert!(matches!(outcome(0, 0, &[]), Outcome::Failed(_)));
        assert!(matches!(outcome(3, 1, &[]), Outcome::Failed(_)));
    }

    #[test]
    fn tests_are_counted_and_failed_ones_named() {
        let output =
            "test one ... ok\ntest two::three ... FAILED\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0";
        let expected = Done::of(1, 1, &["two::three".to_owned()]);
        assert_eq!(libtest((Err(anyhow!("cargo ended with 101")), output.to_owned())), expected);
        assert_eq!(expected.outcome, Outcome::Failed("1 tests failed\ntwo::three".into()));
        let line = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.27s";
        assert_eq!(counts(line), Some((12, 0)));
        assert_eq!(["test result ... ok", "test result: ok. many passed; 0 failed"].map(counts), [None; 2]);
    }

    #[test]
    fn a_row_for_each_stage_and_the_reasons() {
        let row = |outcome| Row {
            limit_s: 60,
            done: Done { passed: 3, failed: 1, outcome },
            took: Duration::from_millis(1250),
        };
        let rows = [("one", row(Outcome::Passed)), ("another", row(Outcome::Failed("why\nand which".into())))];
        assert_eq!(
            table(&rows, [Duration::from_secs(2), Duration::from_secs(100)]),
            "stage    outcome   passed  failed      time    limit\n\
             one      ok             3       1     1.2 s     60 s\n\
             another  FAILED         3       1     1.2 s     60 s\n    why\n    and which\n2 s of at most 100 s in all\n"
        );
    }
}
