//! What the guard costs on its hook, in instructions: in one boot of a guest that counts them, with no program, with one
//! that does nothing, and with the guard that the real agent attached.
//!
//! `guest::bench` describes the work. The cost of a program per call comes from the kernel's own statistics of programs.

use anyhow::{Context, Result};
use guest::bench::{Measurement, Round, Setting, Work};
use guest::boot_config::Purpose;
use guest::report::Report;
use serde_json::json;

use super::tracer::Tracer;
use super::{Findings, Row, quantile};
use crate::setup;
use crate::vm::counted::{self, Place};

pub(super) mod native;

/// How many instructions a call the guard may cost more than an empty program, on a node that is no link.
pub(super) const BUDGET: f64 = 15.0;

/// Of what something is the cost.
#[derive(Clone, Copy, PartialEq)]
enum Per {
    Call,
    /// All runs of one bind, of which the last is the one for the link "driver".
    Bind,
}

/// What is compared with the empty program: in words, the work, of what it is the cost, the guard's setting, the budget.
const ON_HOOK: [(&str, Work, Per, Setting, Option<f64>); 11] = [
    ("node that is no link: audit", Work::Cgroups, Per::Call, Setting::Audit, Some(BUDGET)),
    ("node that is no link: enforce", Work::Cgroups, Per::Call, Setting::EnforceOversize, Some(BUDGET)),
    ("  bpftrace's look", Work::Cgroups, Per::Call, Setting::Bpftrace, None),
    ("node or link of a loop device", Work::Devices, Per::Call, Setting::Audit, None),
    ("bind of another nd device", Work::OtherBind, Per::Bind, Setting::Audit, None),
    ("  bpftrace's look", Work::OtherBind, Per::Bind, Setting::Bpftrace, None),
    ("creation that passes", Work::Creation, Per::Bind, Setting::Audit, None),
    ("  bpftrace's judgement", Work::Creation, Per::Bind, Setting::BpftraceJudges, None),
    ("creation that would be denied", Work::Creation, Per::Bind, Setting::AuditOversize, None),
    ("  bpftrace's judgement", Work::Creation, Per::Bind, Setting::BpftraceJudgesOversize, None),
    ("creation that is denied", Work::Creation, Per::Bind, Setting::EnforceOversize, None),
];

const STORMS: [(&str, Work); 2] =
    [("make and remove a cgroup", Work::Cgroups), ("make and remove a loop device", Work::Devices)];

const SETTINGS: [(&str, Setting); 4] = [
    ("empty", Setting::Empty),
    ("audit", Setting::Audit),
    ("enforce", Setting::EnforceOversize),
    ("bpftrace", Setting::Bpftrace),
];
const UNIT: &str = "instr.";

pub(super) fn measure() -> Result<Findings> {
    setup::for_vm()?;
    let tracer = Tracer::provide()?;
    let (place, measurements) = counted::run(Purpose::BenchGuard, &tracer.0, |report| match report {
        Report::Measured(measurement) => Some(measurement.clone()),
        _ => None,
    })?;
    findings(&place, &measurements)
}

fn findings(place: &Place, measured: &[Measurement]) -> Result<Findings> {
    let mut rows = Vec::new();
    for (what, work, per, setting, budget) in ON_HOOK {
        let cost = |times, round: &Round| match per {
            Per::Call => ratio(round.run_instructions, round.runs),
            Per::Bind => ratio(round.run_instructions, times),
        };
        let (empty, guard) = (median(measured, work, Setting::Empty, &cost)?, median(measured, work, setting, &cost)?);
        let what = format!("{what}, a {}", if per == Per::Call { "call" } else { "bind" });
        rows.push(Row { budget: budget.map(|more| empty + more), ..Row::new(what, UNIT, guard).beside(empty) });
    }
    for (what, work) in STORMS {
        let each = |setting| median(measured, work, setting, &|times, round| ratio(round.work_instructions, times));
        let none = each(Setting::None)?;
        for (name, setting) in SETTINGS {
            rows.push(Row::new(format!("{what}: {name}, beside no program"), UNIT, each(setting)?).beside(none));
        }
    }
    Ok(Findings {
        head: format!("in {} on kernel {}: the median of the rounds", place.emulator, place.release),
        peer: "empty program",
        rows,
        report: json!({ "kernel": place.release, "emulator": place.emulator, "rounds": measured }),
    })
}

/// The median over the rounds of a work under a setting; now and then one is interrupted by something that it did not cause.
fn median(
    measurements: &[Measurement],
    work: Work,
    setting: Setting,
    value: &dyn Fn(u64, &Round) -> f64,
) -> Result<f64> {
    let found = measurements.iter().filter(|found| found.work == work && found.setting == setting);
    let values = found.flat_map(|found| found.rounds.iter().map(|round| value(found.times.into(), round)));
    let median = quantile(values.collect(), 50);
    median.with_context(|| format!("the guest did not measure {work:?} with {setting:?}"))
}

fn ratio(instructions: u64, count: u64) -> f64 {
    instructions as f64 / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A measurement of two equal rounds of ten times.
    fn measured(setting: Setting, work: Work, instructions: u64) -> Measurement {
        let round =
            Round { work_instructions: 10 * 100_000 + instructions, runs: 20, run_instructions: 20 * instructions };
        Measurement { setting, work, times: 10, rounds: vec![round; 2] }
    }

    fn place() -> Place {
        Place { release: "6.12".into(), emulator: "QEMU".into() }
    }

    /// All that a guest measures, with a guard that costs so much.
    fn guest(guard: u64) -> Vec<Measurement> {
        let works = [Work::Cgroups, Work::Devices, Work::OtherBind, Work::Creation];
        let settings = [
            (Setting::None, 0),
            (Setting::Empty, 66),
            (Setting::Bpftrace, 200),
            (Setting::BpftraceJudges, 200),
            (Setting::BpftraceJudgesOversize, 200),
            (Setting::Audit, guard),
            (Setting::AuditOversize, guard),
            (Setting::EnforceOversize, guard),
        ];
        let measurements =
            settings.iter().flat_map(|(setting, cost)| works.map(|work| measured(*setting, work, *cost)));
        measurements.collect()
    }

    #[test]
    fn the_budget_is_15_instructions_more_than_an_empty_program() {
        let met = findings(&place(), &guest(81)).unwrap();
        assert!(!met.missed() && met.rows[0].budget.is_some(), "{}", met.table());
        let missed = findings(&place(), &guest(82)).unwrap();
        assert!(missed.missed() && missed.rows[0].is_missed(), "{}", missed.table());
    }

    #[test]
    fn a_bind_is_all_its_calls() {
        let found = findings(&place(), &guest(86)).unwrap();
        let bind = found.rows.iter().find(|row| row.what.ends_with("a bind")).unwrap();
        assert_eq!((bind.peer, bind.ours), (Some(132.0), 172.0));
    }

    #[test]
    fn what_was_not_measured_is_an_error() {
        let mut guest = guest(86);
        guest.retain(|found| found.setting != Setting::EnforceOversize);
        let error = findings(&place(), &guest).err().unwrap().to_string();
        assert!(error.contains("Cgroups with EnforceOversize"), "{error}");
    }
}
