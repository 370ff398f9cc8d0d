//! What the agent costs a host: memory, its start, its waking up, and the way of an event to a line, in one boot of a guest
//! whose clock counts instructions, so that a busy host changes nothing.
//!
//! `guest::bench::agent` says what is measured.

use std::time::Duration;

use anyhow::{Context, Result};
use guest::bench::TRACER;
use guest::bench::agent::{Figures, Started};
use guest::orders::Purpose;
use guest::report::Report;
use serde_json::{Value, json};

use super::Findings;
use crate::setup;
use crate::vm::counted::{self, Place};

const MIB: f64 = 1_048_576.0;
/// Resident memory, idle, with 64 namespaces.
const MOST_RESIDENT_MIB: f64 = 12.0;
/// eBPF maps and programs.
const MOST_IN_KERNEL_MIB: f64 = 1.0;
/// Start to attached, as a part of bpftrace's.
const MOST_OF_START: f64 = 0.2;
/// When nothing happens.
const MOST_WAKE_UPS_A_MINUTE: f64 = 4.0;
/// The slowest line of a hundred, as a part of bpftrace's.
const MOST_OF_LINE: f64 = 1.0;

/// A figure, in its unit, and what it may be at most.
struct Row {
    what: String,
    unit: &'static str,
    value: f64,
    budget: Option<f64>,
}

/// Builds what it needs, boots the guest and judges what it measured.
pub(super) fn measure() -> Result<Findings> {
    setup::for_bench_agent()?;
    let tracer = counted::program("bpftrace")?;
    let mut figures = None;
    let place = counted::run(
        Purpose::BenchAgent,
        |base| base.with_program(TRACER, tracer),
        |report| match report {
            Report::Started { name } => eprintln!("{name}"),
            Report::Agent(found) => figures = Some(found.clone()),
            _ => (),
        },
    )?;
    let figures = figures.context("the guest reported no figures")?;
    findings(&place, &figures, &rows(&figures)?)
}

fn findings(place: &Place, figures: &Figures, rows: &[Row]) -> Result<Findings> {
    let head = format!(
        "the agent with {} namespaces, in {} on kernel {}: a second is a thousand million instructions\n",
        figures.namespaces, place.emulator, place.release
    );
    Ok(Findings {
        table: rows.iter().fold(head + &Row::head(), |text, row| text + &row.line()),
        report: json!({
            "kernel": place.release,
            "emulator": place.emulator,
            "measurements": rows.iter().map(Row::json).collect::<Vec<_>>(),
            "figures": serde_json::to_value(figures).context("figures that JSON refuses")?,
        }),
        missed: rows.iter().any(Row::is_missed),
    })
}

fn rows(figures: &Figures) -> Result<Vec<Row>> {
    let start = |what: Started| {
        let times = figures.starts.iter().filter(|(started, _)| *started == what).map(|(_, time)| *time);
        quantile(times.collect(), 50).with_context(|| format!("{what:?} was never started"))
    };
    let (ours, one, same) = (start(Started::Pfnwatch)?, start(Started::OneKprobe)?, start(Started::SameFunctions)?);
    let line = |lines: &[Duration]| quantile(lines.to_vec(), 99).context("no event was told");
    let (our_line, peer_line) = (line(&figures.lines)?, line(&figures.peer_lines)?);
    let (resident, in_kernel) = (figures.resident, figures.in_kernel);
    let row = |what: &str, unit, value, budget| Row { what: what.to_owned(), unit, value, budget };
    Ok(vec![
        row(
            "resident, idle: anonymous and files",
            "MiB",
            mib(resident.anon_bytes + resident.file_bytes),
            Some(MOST_RESIDENT_MIB),
        ),
        row("  of it anonymous", "MiB", mib(resident.anon_bytes), None),
        row("  files in the guest's memory besides", "MiB", mib(resident.shmem_bytes), None),
        row(
            "maps and programs in the kernel",
            "MiB",
            mib(in_kernel.map_bytes + in_kernel.program_bytes),
            Some(MOST_IN_KERNEL_MIB),
        ),
        row("  of it programs", "MiB", mib(in_kernel.program_bytes), None),
        row("start to attached", "s", ours.as_secs_f64(), None),
        row("  bpftrace, one kprobe", "s", one.as_secs_f64(), None),
        row("  bpftrace, the same functions", "s", same.as_secs_f64(), None),
        row("  as a part of bpftrace's, one kprobe", "", ratio(ours, one), None),
        row("  as a part of bpftrace's, same functions", "", ratio(ours, same), Some(MOST_OF_START)),
        row(
            "wake-ups a minute, idle",
            "",
            f64::from(u32::try_from(figures.wake_ups)?) * 60.0 / figures.idle.as_secs_f64(),
            Some(MOST_WAKE_UPS_A_MINUTE),
        ),
        row("event to line, p99", "ms", our_line.as_secs_f64() * 1e3, None),
        row("  as a part of bpftrace's, one kprobe", "", ratio(our_line, peer_line), Some(MOST_OF_LINE)),
    ])
}

impl Row {
    fn is_missed(&self) -> bool {
        self.budget.is_some_and(|budget| self.value > budget)
    }

    fn head() -> String {
        format!("{:44} {:>12} {:>8}\n", "what", "measured", "budget")
    }

    fn line(&self) -> String {
        let budget = self.budget.map_or_else(String::new, |budget| format!("{budget:.1}"));
        let verdict = if self.is_missed() { "MISSED" } else { self.budget.map_or("", |_| "met") };
        let measured = format!("{:.2} {}", self.value, self.unit);
        let line = format!("{:44} {:>12} {budget:>8}  {verdict}", self.what, measured.trim_end());
        line.trim_end().to_owned() + "\n"
    }

    fn json(&self) -> Value {
        let thousandths = (self.value * 1e3).round() / 1e3;
        let what = self.what.trim_start();
        json!({ "what": what, "unit": self.unit, "value": thousandths, "budget": self.budget, "missed": self.is_missed() })
    }
}

/// The value below which so many of a hundred lie.
fn quantile(mut times: Vec<Duration>, hundredths: usize) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) * hundredths / 100).copied()
}

fn ratio(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64()
}

/// Memory is far below 2^53 bytes.
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(ours_ms: u64, wake_ups: u64) -> Figures {
        let millis = Duration::from_millis;
        Figures {
            namespaces: 64,
            starts: vec![
                (Started::Pfnwatch, millis(ours_ms)),
                (Started::OneKprobe, millis(2000)),
                (Started::SameFunctions, millis(3000)),
            ],
            resident: Default::default(),
            in_kernel: Default::default(),
            idle: Duration::from_secs(120),
            wake_ups,
            lines: vec![millis(1), millis(2)],
            peer_lines: vec![millis(3)],
        }
    }

    fn missed(figures: &Figures) -> Vec<String> {
        rows(figures).unwrap().iter().filter(|row| row.is_missed()).map(|row| row.what.trim().to_owned()).collect()
    }

    #[test]
    fn budgets_are_judged() {
        assert!(missed(&figures(600, 8)).is_empty());
        assert_eq!(missed(&figures(601, 9)), ["as a part of bpftrace's, same functions", "wake-ups a minute, idle"]);
        assert!(rows(&Figures { starts: Vec::new(), ..figures(1, 1) }).is_err());
    }

    #[test]
    fn p99_is_near_the_end() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(quantile(times.clone(), 50), Some(Duration::from_millis(100)));
        assert_eq!(quantile(times, 99), Some(Duration::from_millis(198)));
        assert_eq!(quantile(Vec::new(), 50), None);
    }
}
