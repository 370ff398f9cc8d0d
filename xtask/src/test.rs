//! `cargo xtask test`: every stage with its limit, a table of them, and one closing line.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use guest::boot_config::Soak;

use crate::architecture::Architecture;
use crate::peers::{self, FleetArgs};
use crate::process::{self, both};
use crate::{build_ebpf, check, dist, fuzz, setup, toolchain, vm};

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

#[derive(Debug, Default, PartialEq)]
struct Done {
    passed: usize,
    failed: usize,
    outcome: Outcome,
}

#[derive(Debug, Default, PartialEq)]
enum Outcome {
    #[default]
    Passed,
    Failed(String),
    NotRun(String),
}

struct Row {
    name: &'static str,
    limit_s: u64,
    done: Done,
    took: Duration,
}

const SETUP: &str = "set-up";
const OBJECT: &str = "eBPF programs";
const AGENT: &str = "agent, and guests' files";

/// Runs the stages and reports each. What runs side by side waits for different resources: compiling the agent ends on one
/// processor, kernels come over the network, fuzz targets are compiled while Prometheus and the browser wait.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let start = Instant::now();
    process::set_deadline(start + TOTAL);
    let stages = Stages { deadline: start + TOTAL, rows: Mutex::default() };
    let checks = |on_host| {
        for check in check::ALL.iter().filter(|check| check.on_host == on_host) {
            let needed = if check.needs_object { OBJECT } else { "" };
            stages.run(check.name, check.limit_s, needed, || one((check.run)()));
        }
    };
    stages.run(SETUP, 900, "", || one(if args.quick { setup::for_unit_tests() } else { setup::for_test() }));
    stages.run(OBJECT, 300, SETUP, || one(build_ebpf::run(Architecture::HOST)));
    thread::scope(|scope| {
        scope.spawn(|| checks(false));
        if !args.quick {
            scope.spawn(|| {
                stages.run(AGENT, 600, OBJECT, || {
                    one(both(vm::prepare, || build_ebpf::agent(Architecture::HOST)).map(drop))
                });
            });
        }
        checks(true);
        stages.run("unit tests", 600, OBJECT, || {
            let done = libtest(toolchain::workspace_task("test", &["--no-fail-fast"]).limit(UNIT_LIMIT).tee());
            let _reported_by_their_stages = toolchain::build_test_programs();
            done
        });
    });
    if !args.quick {
        thread::scope(|scope| {
            scope.spawn(|| stages.run("fuzzing", 600, OBJECT, || fuzzed(fuzz::fuzz(None, FUZZ_SECONDS))));
            stages.run("web page and metrics", 400, OBJECT, || libtest(peers::web()));
            stages.run("alerts, Alertmanager", 200, OBJECT, || libtest(peers::alerts()));
            let fleet = FleetArgs { hosts: HOSTS, released: false };
            stages.run("fleet, simulated", 300, OBJECT, || libtest(peers::fleet(&fleet)));
            stages.run("Debian package", 240, AGENT, || one(dist::run().map(drop)));
        });
        let all = vm::Args {
            kernel: vec!["all".to_owned()],
            arch: Architecture::X86_64,
            filter: Vec::new(),
            soak: Soak::DEFAULT,
        };
        stages.run("VMs, all kernels", 2400, AGENT, || guests(vm::run(&all)));
    }
    let rows = stages.rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    print!("\n{}", table(&rows, [start.elapsed(), TOTAL]));
    let (passed, failed) = rows.iter().fold((0, 0), |sum, row| (sum.0 + row.done.passed, sum.1 + row.done.failed));
    println!("{passed} passed, {failed} failed");
    Ok(if passed > 0 && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The stages that have run, and when the last has to be over.
struct Stages {
    deadline: Instant,
    rows: Mutex<Vec<Row>>,
}

impl Stages {
    /// Runs a stage, unless the one that it needs has not passed. It fails if it exceeds its limit, or if no time is left.
    fn run(&self, name: &'static str, limit_s: u64, needed: &str, work: impl FnOnce() -> Done) {
        let rows = || self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let has_passed = |row: &Row| row.name == needed && row.done.outcome == Outcome::Passed;
        let start = Instant::now();
        let mut done = if !needed.is_empty() && !rows().iter().any(has_passed) {
            Done { outcome: Outcome::NotRun(format!("needs {needed}")), ..Done::default() }
        } else if start >= self.deadline {
            // The run as a whole must not look as if this stage had passed.
            Done::failed("no time was left for it")
        } else {
            eprintln!("\n== {name} (at most {limit_s} s)");
            work()
        };
        let took = start.elapsed();
        if done.outcome == Outcome::Passed && took > Duration::from_secs(limit_s) {
            done = done.but_failed("took longer than its limit");
        }
        if let Outcome::Failed(reason) = &done.outcome {
            eprintln!("{name}: {reason}");
        }
        rows().push(Row { name, limit_s, done, took });
    }
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

fn one(outcome: Result<()>) -> Done {
    outcome.map_or_else(|error| Done::failed(format!("{error:#}")), |()| Done::of(1, 0, &[]))
}

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

fn counts(line: &str) -> Option<(usize, usize)> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |name: &str| numbers.split("; ").find_map(|part| part.strip_suffix(name))?.trim().parse().ok();
    Some((number(" passed")?, number(" failed")?))
}

/// Lines of a reason, and characters of a line: who reads only a run's end learns from it which tests failed, and why.
const REASON: (usize, usize) = (70, 600);

fn table(rows: &[Row], [took, total]: [Duration; 2]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default().max("stage".len());
    let mut text = format!(
        "{:width$}  {:8}  {:>6}  {:>6}  {:>8}  {:>7}\n",
        "stage", "outcome", "passed", "failed", "time", "limit"
    );
    for Row { name, limit_s, done, took } in rows {
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

    #[test]
    fn a_stage_needs_another_a_limit_and_time() {
        let stages = |left_s| Stages { deadline: Instant::now() + Duration::from_secs(left_s), rows: Mutex::default() };
        let outcomes = |stages: Stages| {
            stages.rows.into_inner().unwrap().into_iter().map(|row| row.done.outcome).collect::<Vec<_>>()
        };
        let in_time = stages(9);
        in_time.run("a", 5, "", || one(Err(anyhow!("the reason"))));
        in_time.run("b", 5, "a", || one(Ok(())));
        in_time.run("c", 5, "", || one(Ok(())));
        in_time.run("d", 0, "c", || one(Ok(())));
        let [failed, late] = ["the reason", "took longer than its limit"].map(|why| Outcome::Failed(why.into()));
        assert_eq!(outcomes(in_time), [failed, Outcome::NotRun("needs a".into()), Outcome::Passed, late]);
        let too_late = stages(0);
        too_late.run("a", 5, "", || one(Ok(())));
        assert_eq!(outcomes(too_late), [Outcome::Failed("no time was left for it".into())]);
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
        let took = Duration::from_millis(1250);
        let row = |name, outcome| Row { name, limit_s: 60, done: Done { passed: 3, failed: 1, outcome }, took };
        let rows = [row("one", Outcome::Passed), row("another", Outcome::Failed("why\nand which".into()))];
        assert_eq!(
            table(&rows, [Duration::from_secs(2), Duration::from_secs(100)]),
            "stage    outcome   passed  failed      time    limit\n\
             one      ok             3       1     1.2 s     60 s\n\
             another  FAILED         3       1     1.2 s     60 s\n    why\n    and which\n2 s of at most 100 s in all\n"
        );
    }
}
