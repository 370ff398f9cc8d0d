use super::*;

/// A measurement of two equal rounds of ten times.
fn measured(setting: Setting, work: Work, instructions: u64) -> Measurement {
    let round = Round { work_instructions: 10 * 100_000 + instructions, runs: 20, run_instructions: 20 * instructions };
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
    let measurements = settings.iter().flat_map(|(setting, cost)| works.map(|work| measured(*setting, work, *cost)));
    measurements.collect()
}

#[test]
fn the_budget_is_20_instructions_more_than_an_empty_program() {
    let met = findings(&place(), &guest(86)).unwrap();
    assert!(!met.missed && met.table.contains("met") && !met.table.contains("MISSED"), "{}", met.table);
    let missed = findings(&place(), &guest(87)).unwrap();
    assert!(missed.missed && missed.table.contains("MISSED"), "{}", missed.table);
    assert_eq!(missed.report["measurements"][0]["more_instructions"], 21.0);
    assert_eq!(missed.report["measurements"][0]["missed"], true);
}

#[test]
fn a_bind_is_all_its_calls() {
    let found = findings(&place(), &guest(86)).unwrap();
    let rows = found.report["measurements"].as_array().unwrap();
    let bind = rows.iter().find(|row| row["per"] == "bind").unwrap();
    assert_eq!((&bind["empty_instructions"]["median"], &bind["more_instructions"]), (&json!(132.0), &json!(40.0)));
}

#[test]
fn what_was_not_measured_is_an_error() {
    let mut guest = guest(86);
    guest.retain(|found| found.setting != Setting::EnforceOversize);
    let error = findings(&place(), &guest).err().unwrap().to_string();
    assert!(error.contains("Cgroups with EnforceOversize"), "{error}");
}
