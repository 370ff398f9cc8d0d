//! What the guard costs on its hook, in instructions: in one boot of a guest that counts them, with no program, with one
//! that does nothing, and with the guard that the real agent attached.
//!
//! `guest::bench` says what is done there. What a program costs a call is by the kernel's own statistics of programs.

use anyhow::{Context, Result};
use guest::bench::{Measurement, Round, Setting, Work};
use guest::boot_config::Purpose;
use guest::report::Report;
use serde_json::{Value, json};

use super::tracer::Tracer;
use super::{CannotMeasure, Findings};
use crate::setup;
use crate::vm::counted::{self, Place};

pub(super) mod native;
mod numbers;
mod rows;

use numbers::Numbers;
use rows::{OnHook, Per, Storm};

/// How many instructions a call the guard may cost more than an empty program, on a node that is no link.
pub(super) const BUDGET: f64 = 20.0;

/// What is held against the empty program: in words, the work, of what it is the cost, the guard's setting, the budget.
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

/// Storms as a whole.
const STORMS: [(&str, Work); 2] =
    [("make and remove a cgroup", Work::Cgroups), ("make and remove a loop device", Work::Devices)];

/// Builds what it needs, boots the guest and judges what it measured.
pub(super) fn measure() -> Result<Findings> {
    setup::for_vm()?;
    let tracer = Tracer::provide()?;
    let mut measurements = Vec::new();
    let place = counted::run(
        Purpose::BenchGuard,
        |base| Ok(tracer.put_into(base)),
        |report| {
            if let Report::Measured(measurement) = report {
                measurements.push(measurement.clone());
            }
        },
    )?;
    findings(&place, &measurements)
}

fn findings(place: &Place, measured: &[Measurement]) -> Result<Findings> {
    let of = |work, setting, value: &dyn Fn(u16, &Round) -> f64| numbers(measured, work, setting, value);
    let mut on_hook = Vec::new();
    for (what, work, per, setting, budget) in ON_HOOK {
        let cost = |times, round: &Round| per.of(times, round);
        let (empty, guard) = (of(work, Setting::Empty, &cost)?, of(work, setting, &cost)?);
        on_hook.push(OnHook { what, per, empty, guard, budget });
    }
    let mut storms = Vec::new();
    for (what, work) in STORMS {
        let each = |setting| of(work, setting, &|times, round| ratio(round.work_instructions, times.into()));
        let (none, empty) = (each(Setting::None)?, each(Setting::Empty)?);
        let (audit, enforce) = (each(Setting::Audit)?, each(Setting::EnforceOversize)?);
        storms.push(Storm { what, none, empty, bpftrace: each(Setting::Bpftrace)?, audit, enforce });
    }
    let head = format!("instructions, in {} on kernel {}: the median of the rounds\n", place.emulator, place.release);
    Ok(Findings {
        table: head + &rows::on_hook(&on_hook) + &rows::storms(&storms),
        report: report(place, measured, &on_hook, &storms),
        missed: on_hook.iter().any(OnHook::is_missed),
    })
}

fn report(place: &Place, measured: &[Measurement], on_hook: &[OnHook], storms: &[Storm]) -> Value {
    json!({
        "kernel": place.release,
        "emulator": place.emulator,
        "measurements": on_hook.iter().map(OnHook::json).collect::<Vec<_>>(),
        "storms": storms.iter().map(Storm::json).collect::<Vec<_>>(),
        "rounds": measured,
    })
}

/// What the rounds of a work under a setting say.
fn numbers(
    measurements: &[Measurement],
    work: Work,
    setting: Setting,
    value: &dyn Fn(u16, &Round) -> f64,
) -> Result<Numbers> {
    let found = measurements.iter().filter(|found| found.work == work && found.setting == setting);
    let values = found.flat_map(|found| found.rounds.iter().map(|round| value(found.times, round)));
    Numbers::of(values.collect()).with_context(|| format!("the guest did not measure {work:?} with {setting:?}"))
}

/// Instructions and counts are far below 2^53.
fn ratio(instructions: u64, count: u64) -> f64 {
    instructions as f64 / count as f64
}

#[cfg(test)]
mod tests;
