//! What the agent costs a host: memory, its start, its waking up, and the way of an event to a line, in one boot of a guest
//! whose clock counts instructions, so that a busy host changes nothing.
//!
//! `guest::bench` has the measured values.

use anyhow::{Context, Result};
use guest::bench::{Figures, Side, Started};
use guest::boot_config::Purpose;
use guest::report::Report;
use serde_json::json;

use super::tracer::{Tracer, size};
use super::{Findings, Row, mib, ms, quantile};
use crate::vm::counted;
use crate::{paths, setup};

/// Resident memory, idle, with 64 namespaces.
pub(super) const MAX_RESIDENT_MIB: f64 = 10.0;
/// eBPF maps and programs.
pub(super) const MAX_KERNEL_MIB: f64 = 0.75;
/// The binary, with the eBPF object inside.
pub(super) const MAX_INSTALLED_MIB: f64 = 10.0;
/// Start to attached, as a part of bpftrace's.
pub(super) const MAX_START_RATIO: f64 = 0.2;
/// When nothing happens.
pub(super) const MAX_WAKE_UPS_A_MINUTE: f64 = 4.0;
/// The slowest line of a hundred, as a part of bpftrace's.
pub(super) const MAX_LINE_RATIO: f64 = 1.0;
/// Of a burst of enables.
const MAX_LOST: f64 = 0.0;

struct Installed {
    binary_bytes: u64,
    with_libraries_bytes: u64,
    tracer_bytes: u64,
}

pub(super) fn measure() -> Result<Findings> {
    setup::for_vm()?;
    let tracer = Tracer::provide()?;
    let (place, mut figures) = counted::run(Purpose::BenchAgent, &tracer.0, |report| match report {
        Report::Agent(found) => Some(Figures::clone(found)),
        _ => None,
    })?;
    let figures = figures.pop().context("the guest reported no figures")?;
    let agent = paths::agent();
    let installed = Installed {
        binary_bytes: size(&agent)?,
        with_libraries_bytes: counted::with_libraries(&agent)?.iter().map(|file| size(file)).sum::<Result<u64>>()?,
        tracer_bytes: tracer.installed_bytes()?,
    };
    Ok(Findings {
        head: format!(
            "the agent with {} namespaces beside {}, in {} on kernel {}: a second is a thousand million instructions",
            figures.namespaces,
            tracer.version()?,
            place.emulator,
            place.release
        ),
        peer: "bpftrace",
        rows: rows(&figures, &installed)?,
        report: json!({
            "kernel": place.release, "emulator": place.emulator, "peer": tracer.version()?, "figures": figures,
        }),
    })
}

fn rows(figures: &Figures, installed: &Installed) -> Result<Vec<Row>> {
    let start = |what: Started| {
        let times = figures.starts.iter().filter(|(started, _)| *started == what);
        let middle = quantile(times.map(|(_, time)| time.as_secs_f64()).collect(), 50);
        middle.with_context(|| format!("{what:?} was never started"))
    };
    let row = |what: &str, unit, figure: &dyn Fn(&Side) -> f64| {
        Row::new(what, unit, figure(&figures.ours)).beside(figure(&figures.peers))
    };
    let line = |what: &str, hundredths| {
        let of = |side: &Side| quantile(side.lines.iter().map(|time| ms(*time)).collect(), hundredths);
        let (ours, peers) = of(&figures.ours).zip(of(&figures.peers)).context("no event was reported")?;
        anyhow::Ok(Row::new(what, "ms", ours).beside(peers))
    };
    let (attached, same, late) =
        (start(Started::Pfnwatch)?, start(Started::SameFields)?, line("event to line, p99", 99)?);
    let slowest = late.peer.unwrap_or_default() * MAX_LINE_RATIO;
    let wake_ups = count(figures.wake_ups) * 60.0 / figures.idle.as_secs_f64();
    Ok(vec![
        Row::new("start to attached", "s", attached).beside(same).at_most(same * MAX_START_RATIO),
        Row::new("  beside one probe that prints a pointer", "s", attached).beside(start(Started::OneProbe)?),
        row("resident, idle", "MiB", &|side| mib(resident(side))).at_most(MAX_RESIDENT_MIB),
        row("  of it anonymous", "MiB", &|side| mib(side.resident.anon_bytes)),
        row("maps and programs in the kernel", "MiB", &|side| mib(in_kernel(side))).at_most(MAX_KERNEL_MIB),
        Row::new("installed: the binary", "MiB", mib(installed.binary_bytes)).at_most(MAX_INSTALLED_MIB),
        Row::new("  with all libraries, the C library's too", "MiB", mib(installed.with_libraries_bytes))
            .beside(mib(installed.tracer_bytes)),
        row("references that keep libnvdimm loaded", "", &|side| count(side.held)),
        Row::new("wake-ups a minute, idle", "", wake_ups).at_most(MAX_WAKE_UPS_A_MINUTE),
        line("event to line, p50", 50)?,
        late.at_most(slowest),
        row("a burst: namespaces enabled", "", &|side| count(side.burst.enabled)),
        row("  events lost", "", &|side| count(side.burst.enabled.saturating_sub(side.burst.told))).at_most(MAX_LOST),
        row("  processor time", "ms", &|side| ms(side.burst.processor_time)),
    ])
}

/// All of it: in the guest the agent lies on a disk, its loader in memory, and bpftrace with its libraries in memory.
fn resident(side: &Side) -> u64 {
    let resident = side.resident;
    resident.anon_bytes + resident.file_bytes + resident.shmem_bytes
}

fn in_kernel(side: &Side) -> u64 {
    side.in_kernel.map_bytes + side.in_kernel.program_bytes
}

fn count(events: u64) -> f64 {
    events as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use guest::bench::Burst;

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

    fn missed(figures: &Figures) -> Vec<String> {
        let installed = Installed { binary_bytes: 10 << 20, with_libraries_bytes: 12 << 20, tracer_bytes: 200 << 20 };
        let rows = rows(figures, &installed).unwrap();
        rows.iter().filter(|row| row.is_missed()).map(|row| row.what.trim().to_owned()).collect()
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
}
