//! `cargo xtask vm`: boots Debian kernels in QEMU with emulated NVDIMMs and runs the end-to-end tests inside.
//!
//! `kernel` resolves and unpacks a kernel (with `modules`), `initramfs` writes its root file system (with `programs` and
//! `cpio`), `scenario` and `qemu` make the machine, `session` runs it and reads its reports (with `console`). `variant`
//! rebuilds libnvdimm with the regression and the like, `demo` shows it, `kernel_files` has pfnwatch judge kernels that do not run,
//! `counted` runs a guest whose clock counts instructions.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use guest::orders::{Orders, Purpose};
use guest::report::Report;
use guest::scope;

use crate::paths;

mod console;
pub(crate) mod counted;
mod cpio;
pub(crate) mod demo;
mod initramfs;
mod kernel;
mod kernel_files;
mod modules;
pub(crate) mod programs;
mod qemu;
mod scenario;
mod session;
mod variant;

use initramfs::Base;
use kernel::{Found, Kernel};
use qemu::Qemu;
use scenario::{On, Scenario};

/// How long one guest may run in all.
const GUEST_LIMIT: Duration = Duration::from_secs(20 * 60);
/// How long one test may take.
const TEST_LIMIT_S: u64 = 180;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernel line: 5.10, 6.1, 6.12, 6.18, 7.3, or all; may be given several times
    #[arg(long, default_value = "all", value_parser = ["5.10", "6.1", "6.12", "6.18", "7.3", "all"])]
    pub(crate) kernel: Vec<String>,
    /// Words of which a test's name must hold one; none runs all
    #[arg(last = true, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
}

/// What became of the tests, over all kernels.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: usize,
    /// Tests that failed, and guests that did.
    pub(crate) failed: usize,
    /// Kernel lines that were not run, each with the reason.
    pub(crate) not_run: Vec<String>,
}

/// Runs the tests on the kernels that were asked for, prints each outcome as it comes and one closing line.
pub(crate) fn run(args: &Args) -> Result<Tally> {
    let _lock = lock()?;
    let built = programs::build()?;
    if built.agent.is_none() {
        eprintln!(
            "the guests go without the agent: there is no {}",
            paths::target().join("release/pfnwatch").display()
        );
    }
    let run = Run { base: Base::new(&built)?, tests: programs::tests(&built)?, filter: args.filter.clone() };
    let (mut tally, mut qemu) = (Tally::default(), None);
    for line in scope::LINES.iter().filter(|line| args.kernel.iter().any(|asked| asked == *line || asked == "all")) {
        let kernel = match kernel::provide(line)? {
            Found::Kernel(kernel) => kernel,
            Found::NotRun(why) => {
                not_run(format!("{line}: {why}"), &mut tally);
                continue;
            }
        };
        let qemu = match &mut qemu {
            Some(qemu) => qemu,
            none => {
                let found = Qemu::find(&kernel.image)?;
                println!("{}", found.words());
                none.insert(found)
            }
        };
        kernel_files::check_debian(&kernel, built.agent.as_deref(), &args.filter, &mut tally);
        let machines: Vec<_> = scenario::ALL.iter().filter(|machine| machine.is_for(line)).collect();
        for machine in machines.iter().filter(|machine| machine.kernel == On::Debian && run.wants(machine)) {
            run.boot(&Machine { kernel: &kernel, libnvdimm: None, scenario: machine }, qemu, &mut tally)?;
        }
        if machines.iter().any(|machine| machine.kernel != On::Debian && run.wants(machine)) {
            rebuilt(line, &machines, &run, qemu, &mut tally)?;
        }
        if *line == scenario::REBUILT {
            kernel_files::check_variants(line, built.agent.as_deref(), &args.filter, &mut tally)?;
        }
    }
    close(&tally, &args.filter)?;
    Ok(tally)
}

/// The machines of a line whose libnvdimm is rebuilt.
fn rebuilt(line: &str, machines: &[&Scenario], run: &Run, qemu: &Qemu, tally: &mut Tally) -> Result<()> {
    let variants = match variant::provide(line)? {
        Ok(variants) => variants,
        Err(why) => {
            not_run(format!("{line} with another libnvdimm: {why}"), tally);
            return Ok(());
        }
    };
    for machine in machines.iter().filter(|machine| run.wants(machine)) {
        if let On::Rebuilt(_, variant) = machine.kernel {
            let libnvdimm = Some(variants.module(variant));
            run.boot(&Machine { kernel: &variants.kernel, libnvdimm, scenario: machine }, qemu, tally)?;
        }
    }
    Ok(())
}

fn not_run(what: String, tally: &mut Tally) {
    println!("not run: kernel {what}");
    tally.not_run.push(what);
}

/// Keeps a second run off the same files until it is dropped; it waits.
fn lock() -> Result<File> {
    let dir = paths::target().join("vm");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let file = File::create(dir.join("lock")).with_context(|| format!("no lock in {}", dir.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", dir.display()))?;
    Ok(file)
}

/// What all guests of a run have in common.
struct Run {
    base: Base,
    /// The names of all tests.
    tests: Vec<String>,
    filter: Vec<String>,
}

/// One guest to be.
struct Machine<'a> {
    kernel: &'a Kernel,
    /// What takes the place of the kernel's own module.
    libnvdimm: Option<PathBuf>,
    scenario: &'a Scenario,
}

impl Run {
    /// Whether a test that was asked for is to be run on this machine.
    fn wants(&self, machine: &Scenario) -> bool {
        let orders = self.orders("", machine);
        self.tests.iter().any(|test| orders.wants(test) && scope::of(test).scenario == machine.name)
    }

    fn orders(&self, line: &str, machine: &Scenario) -> Orders {
        Orders {
            line: line.to_owned(),
            scenario: machine.name.to_owned(),
            filters: self.filter.clone(),
            test_limit_s: TEST_LIMIT_S,
            purpose: Purpose::Tests,
        }
    }

    fn boot(&self, machine: &Machine<'_>, qemu: &Qemu, tally: &mut Tally) -> Result<()> {
        let (kernel, scenario) = (machine.kernel, machine.scenario);
        println!("kernel {} ({}), machine {}", kernel.line, kernel.release, scenario.name);
        let home = home(&kernel.line, scenario.name)?;
        let initramfs = home.join("initramfs.cpio");
        let orders = self.orders(&kernel.line, scenario);
        self.base.write(kernel, machine.libnvdimm.as_deref(), &orders, &initramfs)?;
        let backends = backends(&kernel.line, scenario)?;
        let command = qemu.command(&kernel.image, &initramfs, scenario, &backends);
        let outcome = session::run(command, GUEST_LIMIT, |report| show(&kernel.line, report))?;
        if let Some(why) = &outcome.broken {
            println!("{:>5}  FAILED  the guest: {why}", kernel.line);
        }
        tally.passed += outcome.passed;
        tally.failed += outcome.failed;
        // What a test wrote there takes room, and serves nobody but a scenario that goes on with it.
        let kept = scenario::ALL.iter().any(|other| other.continues == Some(scenario.name) && self.wants(other));
        for file in backends.iter().filter(|_| !kept).chain([&initramfs]) {
            let _ = fs::remove_file(file);
        }
        Ok(())
    }
}

/// The folder of a guest's files.
fn home(line: &str, scenario: &str) -> Result<PathBuf> {
    let home = paths::target().join("vm/guests").join(format!("{line}-{scenario}"));
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    Ok(home)
}

/// The NVDIMMs' files: blank, or as the scenario that this one continues left them.
fn backends(line: &str, scenario: &Scenario) -> Result<Vec<PathBuf>> {
    let home = home(line, scenario.continues.unwrap_or(scenario.name))?;
    let mut files = Vec::new();
    for (number, nvdimm) in scenario.nvdimms.iter().enumerate() {
        let file = home.join(format!("nvdimm{number}.img"));
        if scenario.continues.is_none() || !file.exists() {
            qemu::blank(&file, qemu::backend_bytes(nvdimm))?;
        }
        files.push(file);
    }
    Ok(files)
}

fn show(line: &str, report: &Report) {
    let seconds = |ms: &u64| format!("{}.{} s", ms / 1000, ms % 1000 / 100);
    match report {
        Report::Passed { name, duration_ms } => println!("{line:>5}  ok      {name}  {}", seconds(duration_ms)),
        Report::Failed { name, duration_ms, why } => {
            println!("{line:>5}  FAILED  {name}  {}: {why}", seconds(duration_ms));
        }
        Report::Output { line } => println!("    {line}"),
        Report::Elsewhere { name, lines } => println!("{line:>5}  -       {name}  counts on {lines}"),
        Report::Ready { .. }
        | Report::Started { .. }
        | Report::Broken { .. }
        | Report::Totals { .. }
        | Report::Measured(_)
        | Report::Verdict { .. } => (),
    }
}

/// The closing line. That nothing ran at all is no success, unless it is the kernel that is gone.
fn close(tally: &Tally, filter: &[String]) -> Result<()> {
    for line in &tally.not_run {
        println!("not run: kernel {line}");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.passed + tally.failed == 0 && tally.not_run.is_empty() {
        ensure!(filter.is_empty(), "no test that counts on these kernels has one of these words: {}", filter.join(" "));
        bail!("no test was run");
    }
    Ok(())
}
