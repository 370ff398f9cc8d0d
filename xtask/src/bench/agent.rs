//! What the agent costs a host: memory, its start, its waking up, and the way of an event to a line, in one boot of a guest
//! whose clock counts instructions, so that a busy host changes nothing.
//!
//! `guest::bench::agent` says what is measured.

use std::time::Duration;

use anyhow::{Context, Result};
use guest::bench::agent::{Figures, Side, Started};
use guest::boot_config::Purpose;
use guest::report::Report;
use serde_json::{Value, json};

use super::Findings;
use super::tracer::{Tracer, size};
use crate::vm::counted::{self, Place};
use crate::{paths, setup};

const MIB: f64 = 1_048_576.0;
/// Resident memory, idle, with 64 namespaces.
pub(super) const MAX_RESIDENT_MIB: f64 = 12.0;
/// eBPF maps and programs.
pub(super) const MAX_IN_KERNEL_MIB: f64 = 1.0;
/// The binary, with the eBPF object inside.
pub(super) const MAX_INSTALLED_MIB: f64 = 10.0;
/// Start to attached, as a part of bpftrace's.
pub(super) const MAX_START_RATIO: f64 = 0.2;
/// When nothing happens.
pub(super) const MAX_WAKE_UPS_PER_MINUTE: f64 = 4.0;
/// The slowest line of a hundred, as a part of bpftrace's.
pub(super) const MAX_LINE_RATIO: f64 = 1.0;
/// Of a burst of enables.
const MAX_LOST: f64 = 0.0;

/// A figure of ours beside bpftrace's, in its unit, and what ours may be at most.
struct Row {
    what: &'static str,
    unit: &'static str,
    ours: f64,
    peers: Option<f64>,
    budget: Option<Budget>,
}

enum Budget {
    /// In the figure's unit.
    Most(f64),
    /// As a part of bpftrace's figure.
    Part(f64),
}

/// What is installed.
struct Installed {
    binary_bytes: u64,
    with_libraries_bytes: u64,
    tracer_bytes: u64,
}

/// Builds what it needs, boots the guest and judges what it measured.
pub(super) fn measure() -> Result<Findings> {
    setup::for_vm()?;
    let tracer = Tracer::provide()?;
    let mut figures = None;
    let place = counted::run(
        Purpose::BenchAgent,
        |base| Ok(tracer.put_into(base)),
        |report| match report {
            Report::Started { name } => eprintln!("{name}"),
            Report::Agent(found) => figures = Some(Figures::clone(found)),
            _ => (),
        },
    )?;
    let figures = figures.context("the guest reported no figures")?;
    let agent = paths::target().join("release/pfnwatch");
    let installed = Installed {
        binary_bytes: size(&agent)?,
        with_libraries_bytes: counted::with_libraries(&agent)?.iter().map(|file| size(file)).sum::<Result<u64>>()?,
        tracer_bytes: tracer.installed_bytes()?,
    };
    findings(&place, &tracer.version()?, &figures, &rows(&figures, &installed)?)
}

fn findings(place: &Place, tracer: &str, figures: &Figures, rows: &[Row]) -> Result<Findings> {
    let head = format!(
        "the agent with {} namespaces beside {tracer}, in {} on kernel {}: a second is a thousand million instructions\n",
        figures.namespaces, place.emulator, place.release
    );
    Ok(Findings {
        table: rows.iter().fold(head + &Row::head(), |text, row| text + &row.line()),
        report: json!({
            "kernel": place.release,
            "emulator": place.emulator,
            "peer": tracer,
            "measurements": rows.iter().map(Row::json).collect::<Vec<_>>(),
            "figures": serde_json::to_value(figures).context("figures that JSON refuses")?,
        }),
        missed: rows.iter().any(Row::is_missed),
    })
}

fn rows(figures: &Figures, installed: &Installed) -> Result<Vec<Row>> {
    let start = |what: Started| {
        let times = figures.starts.iter().filter(|(started, _)| *started == what).map(|(_, time)| *time);
        anyhow::Ok(quantile(times.collect(), 50).with_context(|| format!("{what:?} was never started"))?.as_secs_f64())
    };
    let (ours, peers) = (&figures.ours, &figures.peers);
    let row = |what, unit, (ours, peers), budget| Row { what, unit, ours, peers: Some(peers), budget };
    let alone = |what, unit, ours, budget| Row { what, unit, ours, peers: None, budget };
    let both = |figure: fn(&Side) -> f64| (figure(ours), figure(peers));
    let line = |hundredths| {
        let of = |side: &Side| quantile(side.lines.clone(), hundredths).context("no event was told");
        anyhow::Ok((of(ours)?.as_secs_f64() * 1e3, of(peers)?.as_secs_f64() * 1e3))
    };
    let (attached, same) = (start(Started::Pfnwatch)?, start(Started::SameFields)?);
    let wake_ups = f64::from(u32::try_from(figures.wake_ups)?) * 60.0 / figures.idle.as_secs_f64();
    let lost = both(|side| count(side.burst.enabled.saturating_sub(side.burst.told)));
    Ok(vec![
        row("start to attached", "s", (attached, same), Some(Budget::Part(MAX_START_RATIO))),
        row("  beside one probe that prints a pointer", "s", (attached, start(Started::OneProbe)?), None),
        row("resident, idle", "MiB", both(|side| mib(resident(side))), Some(Budget::Most(MAX_RESIDENT_MIB))),
        row("  of it anonymous", "MiB", both(|side| mib(side.resident.anon_bytes)), None),
        row(
            "maps and programs in the kernel",
            "MiB",
            both(|side| mib(in_kernel(side))),
            Some(Budget::Most(MAX_IN_KERNEL_MIB)),
        ),
        alone("installed: the binary", "MiB", mib(installed.binary_bytes), Some(Budget::Most(MAX_INSTALLED_MIB))),
        row(
            "  with all libraries, the C library's too",
            "MiB",
            (mib(installed.with_libraries_bytes), mib(installed.tracer_bytes)),
            None,
        ),
        row("references that keep libnvdimm loaded", "", both(|side| count(side.held)), None),
        alone("wake-ups a minute, idle", "", wake_ups, Some(Budget::Most(MAX_WAKE_UPS_PER_MINUTE))),
        row("event to line, p50", "ms", line(50)?, None),
        row("event to line, p99", "ms", line(99)?, Some(Budget::Part(MAX_LINE_RATIO))),
        row("a burst: namespaces enabled", "", both(|side| count(side.burst.enabled)), None),
        row("  events lost", "", lost, Some(Budget::Most(MAX_LOST))),
        row("  processor time", "ms", both(|side| side.burst.processor_time.as_secs_f64() * 1e3), None),
    ])
}

impl Row {
    /// The most that ours may be.
    fn most(&self) -> Option<f64> {
        match self.budget.as_ref()? {
            Budget::Most(most) => Some(*most),
            Budget::Part(part) => self.peers.map(|peers| peers * part),
        }
    }

    fn is_missed(&self) -> bool {
        self.most().is_some_and(|most| self.ours > most)
    }

    fn head() -> String {
        format!("{:42} {:>12} {:>12} {:>7} {:>10}\n", "what", "pfnwatch", "bpftrace", "part", "at most")
    }

    fn line(&self) -> String {
        let number = |value: f64| format!("{value:.2} {}", self.unit).trim_end().to_owned();
        let peers = self.peers.map_or_else(String::new, number);
        let part = self
            .peers
            .filter(|peers| *peers > 0.0)
            .map_or_else(String::new, |peers| format!("{:.2}", self.ours / peers));
        let most = self.most().map_or_else(String::new, number);
        let verdict = if self.is_missed() { "MISSED" } else { self.budget.as_ref().map_or("", |_| "met") };
        let line = format!("{:42} {:>12} {peers:>12} {part:>7} {most:>10}  {verdict}", self.what, number(self.ours));
        line.trim_end().to_owned() + "\n"
    }

    fn json(&self) -> Value {
        let thousandths = |value: f64| (value * 1e3).round() / 1e3;
        json!({
            "what": self.what.trim_start(),
            "unit": self.unit,
            "pfnwatch": thousandths(self.ours),
            "bpftrace": self.peers.map(thousandths),
            "budget": self.most().map(thousandths),
            "missed": self.is_missed(),
        })
    }
}

/// All of it: in the guest the agent lies on a disk, its loader in memory, and bpftrace with its libraries in memory.
fn resident(side: &Side) -> u64 {
    let resident = side.resident;
    resident.anon_bytes + resident.file_bytes + resident.shmem_bytes
}

fn in_kernel(side: &Side) -> u64 {
    side.in_kernel.map_bytes + side.in_kernel.program_bytes
}

/// The value below which so many of a hundred lie.
fn quantile(mut times: Vec<Duration>, hundredths: usize) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) * hundredths / 100).copied()
}

/// Memory is far below 2^53 bytes.
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// And so are events.
fn count(events: u64) -> f64 {
    events as f64
}

#[cfg(test)]
mod tests {
    use guest::bench::agent::Burst;

    use super::*;

    fn side(line_ms: u64, told: u64) -> Side {
        let lines = vec![Duration::from_millis(1), Duration::from_millis(line_ms)];
        Side { lines, burst: Burst { enabled: 504, told, ..Default::default() }, ..Default::default() }
    }

    fn figures(ours_ms: u64, wake_ups: u64, told: u64) -> Figures {
        let millis = Duration::from_millis;
        Figures {
            namespaces: 64,
            starts: vec![
                (Started::Pfnwatch, millis(ours_ms)),
                (Started::OneProbe, millis(2000)),
                (Started::SameFields, millis(3000)),
            ],
            idle: Duration::from_secs(120),
            wake_ups,
            ours: side(2, told),
            peers: side(3, 500),
        }
    }

    fn missed(figures: &Figures) -> Vec<&'static str> {
        let installed = Installed { binary_bytes: 10 << 20, with_libraries_bytes: 12 << 20, tracer_bytes: 200 << 20 };
        let rows = rows(figures, &installed).unwrap();
        rows.iter().filter(|row| row.is_missed()).map(|row| row.what.trim()).collect()
    }

    #[test]
    fn budgets_are_judged() {
        assert!(missed(&figures(600, 8, 504)).is_empty());
        assert_eq!(missed(&figures(601, 9, 503)), ["start to attached", "wake-ups a minute, idle", "events lost"]);
    }

    #[test]
    fn what_was_not_measured_is_no_result() {
        let installed = Installed { binary_bytes: 0, with_libraries_bytes: 0, tracer_bytes: 0 };
        assert!(rows(&Figures { starts: Vec::new(), ..figures(1, 1, 504) }, &installed).is_err());
        assert!(rows(&Figures { peers: Side::default(), ..figures(1, 1, 504) }, &installed).is_err());
    }

    #[test]
    fn p99_is_near_the_end() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(quantile(times.clone(), 50), Some(Duration::from_millis(100)));
        assert_eq!(quantile(times, 99), Some(Duration::from_millis(198)));
        assert_eq!(quantile(Vec::new(), 50), None);
    }
}
