//! `cargo xtask vm`: boots Debian kernels in QEMU with emulated NVDIMMs and runs the end-to-end tests inside.
//!
//! `kernel` resolves and unpacks a kernel, `initramfs` writes its root file system (with `programs`), `scenario` and `qemu` make
//! the machine, `session` runs it and reads its reports (with `console`); `chains` has several guests run side by side, as many as
//! there is room for. `variant` rebuilds libnvdimm with the regression and the like, `debian` makes a disk with a small Debian,
//! `disk` one with what guests keep beside their NVDIMMs, `foreign` has the tools of guests for another architecture, `demo` shows the regression, `kernel_files` has pfnwatch judge kernels
//! that do not run, `counted` runs a guest whose clock counts instructions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::builder::PossibleValuesParser;
use fs_err::{self as fs, File};
use guest::boot_config::{BootConfig, Purpose, Soak};
use guest::kernel_lines::KERNEL_LINES;
use guest::report::Report;

use crate::architecture::Architecture;
use crate::debian::NotAvailable;
use crate::paths;

mod chains;
mod console;
pub(crate) mod counted;
mod debian;
pub(crate) mod demo;
mod disk;
mod foreign;
mod initramfs;
mod kernel;
mod kernel_files;
mod memory_devices;
mod programs;
mod qemu;
mod scenario;
mod session;
mod variant;

use chains::{Chain, Line, Run};
use debian::Installation;
use initramfs::Base;
use kernel::Kernel;
use qemu::Qemu;
use scenario::{On, Scenario, Userland};
use session::Outcome;
use variant::Variant;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernel line, or all; may be given several times
    #[arg(long, default_value = "all", value_parser = PossibleValuesParser::new(KERNEL_LINES.into_iter().chain(["all"])))]
    pub(crate) kernel: Vec<String>,
    /// Architecture of the machines
    #[arg(long, value_enum, default_value_t = Architecture::X86_64)]
    pub(crate) arch: Architecture,
    /// Words of which a test's name must hold one; none runs all
    #[arg(last = true, value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// How the soak is, where it is among the tests
    #[arg(skip = Soak::DEFAULT)]
    pub(crate) soak: Soak,
}

/// What became of the tests, over all kernels.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    /// Tests that failed, and guests that did: where, which, and why.
    pub(crate) failures: Vec<String>,
    /// Kernel lines that were not run, each with the reason.
    pub(crate) not_run: Vec<String>,
    /// Guests that were booted a second time, each with the reason.
    pub(crate) again: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
        self.not_run.extend(other.not_run);
        self.again.extend(other.again);
    }

    fn fail(&mut self, failure: String) {
        println!("{failure}");
        self.failures.push(failure);
    }

    /// What was found for a kernel line; `None`, with a report of the reason, if it is not available.
    fn available<T>(&mut self, what: &str, found: Result<T>) -> Result<Option<T>> {
        match found {
            Err(error) if error.is::<NotAvailable>() => {
                let not_run = format!("{what}: {error:#}");
                println!("not run: kernel {not_run}");
                self.not_run.push(not_run);
                Ok(None)
            }
            found => found.map(Some),
        }
    }

    /// The closing line. That nothing ran at all is no success.
    fn close(&self, filter: &[String]) -> Result<()> {
        self.not_run.iter().for_each(|line| println!("not run: kernel {line}"));
        self.again.iter().for_each(|guest| println!("booted again: {guest}"));
        println!("{} passed, {} failed", self.passed, self.failures.len());
        if self.passed + self.failures.len() == 0 {
            ensure!(self.not_run.is_empty(), "no test was run: no kernel is to be had");
            let words = filter.join(" ");
            ensure!(filter.is_empty(), "no test that counts on these kernels has one of these words: {words}");
            bail!("no test was run");
        }
        Ok(())
    }
}

/// Runs the tests on the kernels that were asked for, prints each outcome as it comes and one closing line.
pub(crate) fn run(args: &Args) -> Result<Tally> {
    let _lock = lock()?;
    let built = programs::build()?;
    let tests = programs::tests(&built)?;
    let built = if args.arch == Architecture::X86_64 { built } else { programs::cross_build(args.arch)? };
    let run = Run { base: Base::new(&built)?, tests, filter: args.filter.clone(), soak: args.soak };
    let mut tally = Tally::default();
    let mut lines = Vec::new();
    for line in KERNEL_LINES.iter().filter(|line| args.kernel.iter().any(|asked| asked == *line || asked == "all")) {
        // No machine of this architecture is for the others.
        let is_for = |machine: &Scenario| machine.is_for(line, args.arch);
        for flavour in kernel::flavours(args.arch).iter().filter(|_| scenario::ALL.iter().any(is_for)) {
            let what = format!("{line}{}", flavour.suffix);
            if let Some(kernel) = tally.available(&what, kernel::provide(line, *flavour))? {
                lines.push(provide(kernel, &run, &built.agent, &mut tally)?);
            }
        }
    }
    let mut chains: Vec<Chain<'_>> = lines.iter().flat_map(|line| line.chains(&run)).collect();
    if let Some(line) = lines.first() {
        let qemu = Qemu::find(&line.kernel)?;
        // The longest first, so that none is left alone at the end.
        chains.sort_by_key(|chain| std::cmp::Reverse(run.seconds_of(chain)));
        let side_by_side = chains::guests_at_once().min(chains.len().max(1));
        println!("{}, {side_by_side} guests at a time", qemu.words());
        tally.add(run.boot_all(chains, side_by_side, &qemu)?);
    }
    tally.close(&args.filter)?;
    Ok(tally)
}

/// What a kernel line has to boot. What its files alone show is checked on the way.
fn provide(kernel: Kernel, run: &Run, agent: &Path, tally: &mut Tally) -> Result<Line> {
    if kernel.flavour.architecture != Architecture::X86_64 {
        return Ok(Line { kernel, variants: None, debian: None });
    }
    let line = kernel.line.clone();
    let is_wanted = |is_one: &dyn Fn(&Scenario) -> bool| {
        scenario::ALL
            .iter()
            .any(|machine| is_one(machine) && machine.is_for(&line, Architecture::X86_64) && run.wants(machine))
    };
    let judges_files = line == scenario::REBUILT && kernel_files::are_wanted(&run.filter);
    let (mut variants, mut debian) = (None, None);
    if judges_files || is_wanted(&|machine| matches!(machine.kernel, On::Rebuilt(..))) {
        let built = variant::provide(&line, &Variant::ALL);
        variants = tally.available(&format!("{line} with another libnvdimm"), built)?;
    }
    if is_wanted(&|machine| machine.userland == Userland::Debian) {
        debian = tally.available(&format!("{line} with a whole Debian"), debian::provide())?;
    }
    kernel_files::check_debian(&kernel, agent, &run.filter, tally);
    if line == scenario::ARM64 {
        kernel_files::check_arm64(&line, agent, &run.filter, tally)?;
    }
    if let Some(variants) = variants.as_ref().filter(|_| judges_files) {
        kernel_files::check_variants(variants, agent, &run.filter, tally);
    }
    Ok(Line { kernel, variants, debian })
}

pub(crate) fn fetch_kernels() -> Result<()> {
    let _lock = lock()?;
    let fetch = |line: &&str| Tally::default().available(line, kernel::provide(line, kernel::CLOUD)).map(drop);
    KERNEL_LINES.iter().try_for_each(fetch)
}

/// Has ready what guests need besides the agent: PID 1 and the tests, kernels, rebuilt modules. [`run`] finds it done, and
/// reports what is not to be had, too.
pub(crate) fn prepare() -> Result<()> {
    let _lock = lock()?;
    programs::build()?;
    for line in KERNEL_LINES {
        let found = Tally::default().available(line, kernel::provide(line, kernel::CLOUD))?;
        if line == scenario::REBUILT && found.is_some() {
            Tally::default().available(line, variant::provide(line, &Variant::ALL))?;
        }
    }
    Ok(())
}

/// Keeps a second run off the same files until it is dropped; it waits.
fn lock() -> Result<File> {
    paths::lock(&paths::target().join("vm"))
}

fn home(line: &str, scenario: &str) -> Result<PathBuf> {
    let home = paths::target().join("vm/guests").join(format!("{line}-{scenario}"));
    fs::create_dir_all(&home)?;
    Ok(home)
}

/// The NVDIMMs' files: blank, or as the scenario that this one continues left them.
fn backends(line: &str, scenario: &Scenario) -> Result<Vec<PathBuf>> {
    let home = home(line, scenario.first())?;
    let mut files = Vec::new();
    for (number, nvdimm) in scenario.nvdimms.iter().enumerate() {
        let file = home.join(format!("nvdimm{number}.img"));
        if scenario.continues.is_none() || !file.exists() {
            // All zero; it stays sparse.
            File::create(&file)?.set_len(qemu::backend_bytes(nvdimm))?;
        }
        files.push(file);
    }
    Ok(files)
}

/// The file of the disk, for a machine that has one: new, or as the scenario that this one continues left it. Without
/// Debian's packages the machine goes without: the tests that need the disk report it.
fn disk(line: &str, scenario: &Scenario) -> Result<Option<PathBuf>> {
    if !scenario.has_disk {
        return Ok(None);
    }
    let file = home(line, scenario.first())?.join("disk.img");
    if scenario.continues.is_none() || !file.exists() {
        let _ = fs::remove_file(&file);
        if let Err(error) = disk::make(&file) {
            println!("machine {} goes without its disk: {error:#}", scenario.name);
        }
    }
    Ok(file.exists().then_some(file))
}

/// A guest to be.
struct Guest<'a> {
    kernel: &'a Kernel,
    /// What replaces the kernel's own module.
    libnvdimm: Option<PathBuf>,
    debian: Option<&'a Installation>,
    machine: &'static Scenario,
}

impl Guest<'_> {
    /// Boots it, and hands over each of its reports. Without `keeps_disks`, nothing serves the next guest.
    fn boot(
        &self,
        config: &BootConfig,
        limit: Duration,
        (base, qemu): (&Base, &Qemu),
        keeps_disks: bool,
        show: impl FnMut(&Report),
    ) -> Result<Outcome> {
        let Self { kernel, libnvdimm, debian, machine } = self;
        let line = &kernel.label();
        let initramfs = home(line, machine.name)?.join("initramfs.cpio");
        let packages = debian.map(|debian| debian.packages.clone()).unwrap_or_default();
        base.and(packages).write(kernel, libnvdimm.as_deref(), config, &initramfs)?;
        let (root, disk) = (debian.map(|debian| debian.disk(line, machine)).transpose()?, disk(line, machine)?);
        let backends = backends(line, machine)?;
        let is_for_tests = matches!(config.purpose, Purpose::Tests | Purpose::TestsUnderSystemd);
        let further = if is_for_tests { scenario::line_arguments(&kernel.line) } else { "" };
        let mut command = qemu.command(&kernel.image, &initramfs, machine, &backends, disk.as_deref(), further);
        command.args(root.iter().flat_map(|root| qemu::root_arguments(root)));
        let outcome = session::run(command, limit, show);
        // What was written there takes room.
        for file in backends.iter().chain(&disk).chain(&root).filter(|_| !keeps_disks).chain([&initramfs]) {
            let _ = fs::remove_file(file);
        }
        outcome
    }

    /// Boots one for something else than tests.
    fn boot_alone(
        &self,
        purpose: Purpose,
        limit: Duration,
        place: (&Base, &Qemu),
        show: impl FnMut(&Report),
    ) -> Result<()> {
        let config = BootConfig {
            line: self.kernel.line.clone(),
            scenario: self.machine.name.to_owned(),
            filters: Vec::new(),
            test_limit_s: limit.as_secs(),
            purpose,
            soak: Soak::DEFAULT,
        };
        let outcome = self.boot(&config, limit, place, false, show)?;
        ensure!(outcome.failed == 0, "the guest failed: {}", outcome.broken.unwrap_or_default());
        Ok(())
    }
}
