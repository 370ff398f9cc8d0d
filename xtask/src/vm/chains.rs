//! Guests side by side, each in its own folder and with its own files.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use fs_err as fs;
use guest::boot_config::{BootConfig, Purpose, Soak};
use guest::report::Report;
use guest::scope;

use super::debian::Installation;
use super::initramfs::Base;
use super::kernel::Kernel;
use super::qemu::Qemu;
use super::scenario::{self, On, Scenario, Userland};
use super::variant::Variants;
use super::{Guest, Tally};
use crate::process::side_by_side;

/// How long one guest may run in all.
const GUEST_LIMIT: Duration = Duration::from_secs(30 * 60);
/// How long one test may take, and one that installs and removes whole packages.
const TEST_LIMIT_S: u64 = 180;
const PACKAGE_TEST_LIMIT_S: u64 = 360;

pub(super) struct Line {
    pub(super) kernel: Kernel,
    /// The same with other builds of libnvdimm, if tests ask for it.
    pub(super) variants: Option<Variants>,
    /// A Debian to boot with it, if tests ask for one.
    pub(super) debian: Option<Installation>,
}

/// Guests that are to run one after the other: each but the first goes on with what the one before it has left.
pub(super) struct Chain<'a>(Vec<Guest<'a>>);

impl Line {
    fn has(&self, machine: &Scenario) -> bool {
        machine.is_for(&self.kernel.line, self.kernel.flavour.architecture)
    }

    /// The machines that are wanted of this line.
    pub(super) fn chains(&self, run: &Run) -> Vec<Chain<'_>> {
        let mut chains: Vec<Chain<'_>> = Vec::new();
        for scenario in scenario::ALL.iter().filter(|it| self.has(it) && run.wants(it)) {
            let Some(guest) = self.guest(scenario) else { continue };
            let before = |chain: &&mut Chain<'_>| chain.0.last().map(|last| last.machine.name) == scenario.continues;
            match chains.iter_mut().find(before).filter(|_| scenario.continues.is_some()) {
                Some(chain) => chain.0.push(guest),
                None => chains.push(Chain(vec![guest])),
            }
        }
        chains
    }

    /// `None` if its libnvdimm could not be built, or its Debian made: that was reported.
    fn guest(&self, machine: &'static Scenario) -> Option<Guest<'_>> {
        let debian = match machine.userland {
            Userland::Bare => None,
            Userland::Debian => Some(self.debian.as_ref()?),
        };
        let (kernel, libnvdimm) = match machine.kernel {
            On::Debian(_) | On::Arm64(_) => (&self.kernel, None),
            On::Rebuilt(_, variant) => {
                let variants = self.variants.as_ref()?;
                (&variants.kernel, Some(variants.module(variant)))
            }
        };
        Some(Guest { kernel, libnvdimm, debian, machine })
    }
}

pub(super) struct Run {
    pub(super) base: Base,
    pub(super) tests: Vec<String>,
    pub(super) filter: Vec<String>,
    pub(super) soak: Soak,
}

impl Run {
    pub(super) fn wants(&self, machine: &Scenario) -> bool {
        self.tests_on(machine, "").next().is_some()
    }

    /// The tests of a machine, on this kernel line or, without one, on any.
    fn tests_on<'a>(&'a self, machine: &'a Scenario, line: &'a str) -> impl Iterator<Item = &'a String> {
        let config = self.boot_config(line, machine);
        self.tests.iter().filter(move |test| {
            let scope = scope::of(test);
            config.wants(test) && scope.scenario == machine.name && (line.is_empty() || scope.lines.contain(line))
        })
    }

    pub(super) fn seconds_of(&self, chain: &Chain<'_>) -> u64 {
        let seconds = |guest: &Guest<'_>| {
            let each = match guest.machine.userland {
                Userland::Bare if guest.machine.name == scope::SOAK => self.soak.seconds,
                Userland::Bare => 8,
                Userland::Debian => 45,
            };
            self.tests_on(guest.machine, &guest.kernel.line).map(|_| each).sum::<u64>()
        };
        chain.0.iter().map(seconds).sum()
    }

    pub(super) fn boot_all(&self, chains: Vec<Chain<'_>>, at_once: usize, qemu: &Qemu) -> Result<Tally> {
        let mut tally = Tally::default();
        for outcome in side_by_side(chains, at_once, |chain| self.go_through(&chain, qemu)) {
            tally.add(outcome?);
        }
        Ok(tally)
    }

    fn boot_config(&self, line: &str, machine: &Scenario) -> BootConfig {
        let (purpose, test_limit_s) = match machine.userland {
            Userland::Bare => (Purpose::Tests, TEST_LIMIT_S),
            Userland::Debian => (Purpose::TestsUnderSystemd, PACKAGE_TEST_LIMIT_S),
        };
        BootConfig {
            line: line.to_owned(),
            scenario: machine.name.to_owned(),
            filters: self.filter.clone(),
            // A soak takes that long, and then some to look.
            test_limit_s: if machine.name == scope::SOAK {
                self.soak.seconds + u64::from(self.soak.creations) / 4 + 2 * TEST_LIMIT_S
            } else {
                test_limit_s
            },
            purpose,
            soak: self.soak,
        }
    }

    /// Boots the machines of a chain, and all of them a second time after what is taken for QEMU's doing: an emulated processor has
    /// lost its timer (the kernel finds one that has had no interrupt of it for 21 s, amid others; seen twice, in some thousand
    /// boots), or a guest never wrote a byte (seen once). The causes were not found. What else failed there stays a failure.
    fn go_through(&self, chain: &Chain<'_>, qemu: &Qemu) -> Result<Tally> {
        let (first, emulator_fault) = self.attempt(chain, qemu)?;
        let why = match first.failures.as_slice() {
            [failure] if emulator_fault && qemu.emulates() => failure.lines().next().unwrap_or_default().to_owned(),
            _ => return Ok(first),
        };
        println!("booted again: {why}");
        let (mut tally, _) = self.attempt(chain, qemu)?;
        tally.again.push(why);
        Ok(tally)
    }

    /// Boots them one after the other, until the emulator fails; returns whether it did, too.
    fn attempt(&self, chain: &Chain<'_>, qemu: &Qemu) -> Result<(Tally, bool)> {
        let mut all = Tally::default();
        for guest in &chain.0 {
            let (tally, emulator_fault) = self.boot(guest, qemu)?;
            all.add(tally);
            if emulator_fault {
                return Ok((all, true));
            }
        }
        Ok((all, false))
    }

    fn boot(&self, guest: &Guest<'_>, qemu: &Qemu) -> Result<(Tally, bool)> {
        let mut tally = Tally::default();
        let (kernel, machine) = (guest.kernel, guest.machine);
        // At the beginning of each of its lines: `6.12`, or `6.1 max128`.
        let label = match machine.name {
            scope::DEFAULT | scope::ARM64 => kernel.label(),
            name => format!("{} {name}", kernel.line),
        };
        println!("{label:>5}  boots   kernel {}, machine {}", kernel.release, machine.name);
        let start = Instant::now();
        let config = self.boot_config(&kernel.line, machine);
        let limit = GUEST_LIMIT.max(Duration::from_secs(2 * config.test_limit_s));
        let is_continued = scenario::ALL.iter().any(|other| other.continues == Some(machine.name) && self.wants(other));
        let show = |report: &Report| match (line(&label, report), report) {
            (Some(line), Report::Failed { .. }) => tally.fail(line),
            (Some(line), _) => println!("{line}"),
            (None, _) => (),
        };
        let outcome = guest.boot(&config, limit, (&self.base, qemu), is_continued, show)?;
        if let Some(why) = &outcome.broken {
            tally.fail(format!("{label:>5}  FAILED  the guest: {why}"));
        }
        let seconds = start.elapsed().as_secs();
        println!("{label:>5}  ended   {} passed, {} failed, in {seconds} s", outcome.passed, outcome.failed);
        tally.passed += outcome.passed;
        Ok((tally, outcome.emulator_fault))
    }
}

/// The memory of a guest: its own, and its NVDIMMs as far as they are written.
const GUEST_BYTES: u64 = 4 << 30;
/// More have never been tried.
const MAX_AT_ONCE: usize = 4;

/// How many guests this host can run at a time. One under emulation keeps some three quarters of a processor busy, however many it has: a test
/// waits more than it computes. So one more runs at a time than there are processors, if there is memory for it.
pub(super) fn guests_at_once() -> usize {
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_bytes(&text)).unwrap_or(0);
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let fitting = usize::try_from(available / GUEST_BYTES).unwrap_or(MAX_AT_ONCE);
    processors.saturating_add(1).min(fitting).clamp(1, MAX_AT_ONCE)
}

/// `MemAvailable:   22954840 kB`
fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What a report is for people; `None` for most of them.
fn line(guest: &str, report: &Report) -> Option<String> {
    let seconds = |ms: &u64| format!("{}.{} s", ms / 1000, ms % 1000 / 100);
    let text = match report {
        Report::Passed { name, duration_ms } => format!("ok      {name}  {}", seconds(duration_ms)),
        Report::Failed { name, duration_ms, why } => format!("FAILED  {name}  {}: {why}", seconds(duration_ms)),
        Report::Output { line } => format!("|  {line}"),
        Report::Elsewhere { name, lines } => format!("-       {name}  counts on {lines}"),
        _ => return None,
    };
    Some(format!("{guest:>5}  {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_guests_as_there_is_memory_for() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:   22954840 kB\nBuffers:  1 kB\n";
        assert_eq!(available_bytes(text), Some(22_954_840 * 1024));
        assert_eq!(available_bytes("MemTotal: 1 kB\n"), None);
        assert!((1..=MAX_AT_ONCE).contains(&guests_at_once()));
    }
}
