//! `cargo xtask fuzz`: builds the fuzz targets with libFuzzer and runs each for a bounded time.
//!
//! cargo-fuzz sets its flags for every package, so that SQLite, TLS and all other dependencies are compiled again in a folder of their own:
//! 319 processor-seconds instead of 174 here, where the dependencies are those of the unit tests and a wrapper around the compiler adds the
//! flags for what is [`COVERED`]. Its program could be had from PyPI; its build is what costs. Cargo's own setting of flags for single packages
//! (`profile-rustflags`) is unstable, and switching unstable features on has half of the dependencies built again, too. There is no sanitizer
//! runtime in a stable toolchain. The targets lie where cargo-fuzz looks for them, so that it can be used in pfnwatch/ as well:
//! `cargo fuzz run --sanitizer none record`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

use crate::process::{Task, side_by_side};
use crate::{object, paths, setup, toolchain};

const PACKAGE: &str = "pfnwatch-fuzz";
const BUILD_LIMIT: Duration = Duration::from_secs(1200);
/// An input that takes longer is a finding, in seconds: on a busy host the usual one takes milliseconds.
const SLOW_S: u64 = 25;
/// What a target may take of memory, in MiB: the readers' own limits are below it.
const MEMORY_MIB: u64 = 4096;

/// What libFuzzer can see into: our own packages, and those that read bytes from outside for them. No other package of the
/// agent's needs one of these and would have to be compiled again with it; flate2 is not among them, since the agent's build script
/// needs it without.
const COVERED: &str = "pfnwatch pfnwatch-common pfnwatch-fuzz cpio csv iced-x86 lz4_flex lzma-rust2 object@0.40 ruzstd serde_json \
    tar toml toml_parser";

/// Coverage as libFuzzer reads it: counters of edges, and what is compared with what. Targets are built with checks on.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // A branch that is folded is one that the fuzzer cannot see.
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this target: the name of a file in pfnwatch/fuzz/fuzz_targets
    target: Option<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::host_programs(&["c++"])?;
    object().context("the eBPF programs do not build")?;
    real_modules()?;
    let outcomes = fuzz(args.target.as_deref(), args.seconds)?;
    let failed = outcomes.values().filter(|outcome| outcome.is_err()).count();
    if failed == 0 { Ok(()) } else { bail!("{failed} of {} targets failed", outcomes.len()) }
}

/// Puts the libnvdimm of each kernel that VM tests have fetched into the corpus. They are others' code, under another licence:
/// what lies in `seeds` is ours, or was made by a kernel, and is small enough for every run.
fn real_modules() -> Result<()> {
    let corpus = corpus("module");
    fs::create_dir_all(&corpus)?;
    let kernels = paths::target().join("vm/kernels");
    if !kernels.is_dir() {
        return Ok(());
    }
    let found = Task::new("find", [kernels.as_os_str(), "-name".as_ref(), "libnvdimm.ko*".as_ref()]).read()?;
    for (number, module) in found.lines().enumerate() {
        let to = corpus.join(format!("libnvdimm-{number}"));
        fs::copy(module, &to)?;
    }
    Ok(())
}

/// What libFuzzer has found worth keeping of a target's inputs.
fn corpus(target: &str) -> PathBuf {
    paths::target().join("fuzz/corpus").join(target)
}

/// Builds all targets, or one, and runs each for so many seconds, as many at a time as there are processors. Returns how many inputs each
/// passed, or the first that it did not. The eBPF object has to be there.
pub(crate) fn fuzz(only: Option<&str>, seconds: u64) -> Result<BTreeMap<String, Result<u64>>> {
    let all = targets()?;
    let chosen: Vec<&String> = all.iter().filter(|target| only.is_none_or(|only| only == *target)).collect();
    ensure!(!chosen.is_empty(), "no such fuzz target; there are {}", all.join(", "));
    let programs = build()?;
    println!("fuzz {} targets, {seconds} s each …", chosen.len());
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let outcomes = side_by_side(chosen, processors, |target| {
        let outcome = fuzz_one(&programs, target, seconds);
        match &outcome {
            Ok(executions) => println!("{target:10}  {executions:>10} inputs, no finding"),
            Err(error) => println!("{target:10}  {error:#}"),
        }
        (target.clone(), outcome)
    });
    Ok(outcomes.into_iter().collect())
}

fn targets() -> Result<Vec<String>> {
    let dir = home().join("fuzz_targets");
    let entries = fs::read_dir(&dir)?;
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

fn home() -> PathBuf {
    paths::root().join("pfnwatch/fuzz")
}

/// Builds the targets and returns their folder.
///
/// The unit tests have compiled all dependencies in the same folder, SQLite and TLS among them, and only what is
/// [`COVERED`] is compiled again. Cargo does not know of the wrapper's flags: a profile of their own marks these as other
/// builds of the packages, and makes them faster as well.
fn build() -> Result<PathBuf> {
    let of_its_own = |package| {
        ["opt-level=1", "debug=\"line-tables-only\""]
            .map(|setting| format!("profile.dev.package.\"{package}\".{setting}"))
    };
    // What is done around each input is libFuzzer's: as a debug build it would take most of the time.
    let libfuzzer = "profile.dev.package.libfuzzer-sys.opt-level=3".to_owned();
    let settings: Vec<String> = COVERED.split(' ').flat_map(of_its_own).chain([libfuzzer]).collect();
    let targets = targets()?;
    let bins = targets.iter().flat_map(|target| ["--bin", target]);
    let arguments: Vec<&str> = bins.chain(settings.iter().flat_map(|it| ["--config", it])).collect();
    let task = toolchain::workspace_task("build", &arguments);
    let packages = COVERED.split(' ').map(|package| package.split('@').next().unwrap_or(package));
    task.env("RUSTC_WRAPPER", home().join("with-coverage.sh"))
        .env("COVERED", packages.collect::<Vec<_>>().join(" "))
        .env("COVERAGE_FLAGS", FLAGS.join(" "))
        // In many small pieces, as a build for next time is, much of it would not be inlined.
        .env("CARGO_INCREMENTAL", "0")
        .limit(BUILD_LIMIT)
        .show()?;
    Ok(paths::target().join("debug"))
}

/// Runs a target; what it finds new goes into its corpus under the target folder, an input that fails beside it.
fn fuzz_one(programs: &Path, target: &str, seconds: u64) -> Result<u64> {
    let (corpus, findings) = (corpus(target), paths::target().join("fuzz/findings").join(target));
    for dir in [&corpus, &findings] {
        fs::create_dir_all(dir)?;
    }
    let options = [
        format!("-max_total_time={seconds}"),
        format!("-timeout={SLOW_S}"),
        format!("-rss_limit_mb={MEMORY_MIB}"),
        format!("-artifact_prefix={}/", findings.display()),
        "-print_final_stats=1".to_owned(),
    ];
    let folders = [&corpus, &home().join("seeds").join(target)].map(|dir| dir.display().to_string());
    // Only the end of the output is shown: it has to contain the reason, which a backtrace would push out.
    let words = [programs.join(target).display().to_string()].into_iter().chain(options).chain(folders);
    let task = Task::script("# fuzz\nexec \"$@\" 2>&1", words).env("RUST_BACKTRACE", "0");
    // Reading a large corpus back comes before the time that was asked for.
    let said = task.limit(Duration::from_secs(seconds * 2 + 120)).read().with_context(|| {
        format!("its input is in {}; again: cargo run -p {PACKAGE} --bin {target} -- FILE", findings.display())
    })?;
    executions(&said).context("libFuzzer does not report how many inputs it tried")
}

/// libFuzzer's `stat::number_of_executed_units: 1234`.
fn executions(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_seeds_and_a_program() {
        let manifest = fs::read_to_string(home().join("Cargo.toml")).unwrap();
        let targets = targets().unwrap();
        assert!(targets.len() >= 8, "{targets:?}");
        for target in targets {
            assert!(home().join("seeds").join(&target).is_dir(), "{target} has no seed");
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is no program");
        }
    }

    #[test]
    fn executions_are_read() {
        let said = "Done 12 runs in 1 second(s)\nstat::number_of_executed_units: 12\nstat::average_exec_per_sec: 12\n";
        assert_eq!(executions(said), Some(12));
        assert_eq!(executions("==1== ERROR: libFuzzer: deadly signal"), None);
    }
}
