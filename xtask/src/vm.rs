//! `cargo xtask vm`: boots Debian kernels in QEMU with emulated NVDIMMs and runs the end-to-end tests inside.
//!
//! `kernel` resolves and unpacks a kernel (with `modules`), `initramfs` writes its root file system (with `programs` and
//! `cpio`), `scenario` and `qemu` make the machine, `session` runs it and reads its reports (with `console`).

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use guest::orders::Orders;
use guest::report::Report;
use guest::scope;

use crate::paths;

mod console;
mod cpio;
mod initramfs;
mod kernel;
mod modules;
mod programs;
mod qemu;
mod scenario;
mod session;

use initramfs::Base;
use kernel::{Found, Kernel};
use qemu::Qemu;
use scenario::Scenario;

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
    let base = Base::new(&built)?;
    let (mut tally, mut qemu) = (Tally::default(), None);
    for line in scope::LINES.iter().filter(|line| args.kernel.iter().any(|asked| asked == *line || asked == "all")) {
        let kernel = match kernel::provide(line)? {
            Found::Kernel(kernel) => kernel,
            Found::NotRun(why) => {
                println!("kernel {line}: not run: {why}");
                tally.not_run.push(format!("{line}: {why}"));
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
        for machine in scenario::ALL {
            boot(&kernel, machine, qemu, &base, &args.filter, &mut tally)?;
        }
    }
    close(&tally, &args.filter)?;
    Ok(tally)
}

/// Keeps a second run off the same files until it is dropped; it waits.
fn lock() -> Result<File> {
    let dir = paths::target().join("vm");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let file = File::create(dir.join("lock")).with_context(|| format!("no lock in {}", dir.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", dir.display()))?;
    Ok(file)
}

/// One guest.
fn boot(
    kernel: &Kernel,
    machine: &Scenario,
    qemu: &Qemu,
    base: &Base,
    filter: &[String],
    tally: &mut Tally,
) -> Result<()> {
    println!("kernel {} ({}), machine {}", kernel.line, kernel.release, machine.name);
    let home = paths::target().join("vm/guests").join(format!("{}-{}", kernel.line, machine.name));
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    let orders = Orders {
        line: kernel.line.clone(),
        scenario: machine.name.to_owned(),
        filters: filter.to_vec(),
        test_limit_s: TEST_LIMIT_S,
    };
    let initramfs = home.join("initramfs.cpio");
    base.write(kernel, &orders, &initramfs)?;
    let mut backends: Vec<PathBuf> = Vec::new();
    for (number, nvdimm) in machine.nvdimms.iter().enumerate() {
        let backend = home.join(format!("nvdimm{number}.img"));
        qemu::blank(&backend, qemu::backend_bytes(nvdimm))?;
        backends.push(backend);
    }
    let command = qemu.command(&kernel.image, &initramfs, machine, &backends);
    let outcome = session::run(command, GUEST_LIMIT, |report| show(&kernel.line, report))?;
    if let Some(why) = &outcome.broken {
        println!("{:>5}  FAILED  the guest: {why}", kernel.line);
    }
    tally.passed += outcome.passed;
    tally.failed += outcome.failed;
    // What a test wrote there takes room, and serves nobody.
    for backend in backends.iter().chain([&initramfs]) {
        let _ = fs::remove_file(backend);
    }
    Ok(())
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
        Report::Ready { .. } | Report::Started { .. } | Report::Broken { .. } | Report::Verdict { .. } => (),
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
