use serde_json::Value;

use super::*;

fn row(answer: Availability, needed_for: NeededFor) -> Prerequisite {
    let remedy = (answer == Availability::No).then(|| "load it".to_owned());
    Prerequisite { name: "thing", answer, seen: "what was seen".to_owned(), needed_for, remedy }
}

fn report(rows: Vec<Prerequisite>) -> DoctorReport {
    DoctorReport {
        schema: SCHEMA,
        kernel: DoctorKernel {
            release: Some("6.12.9".to_owned()),
            page_size_bytes: Some(4096),
            struct_page_size_bytes: None,
        },
        observe: answer(&rows, NeededFor::Observe),
        exact_inventory: answer(&rows, NeededFor::ExactInventory),
        enforce: answer(&rows, NeededFor::Enforce),
        warnings: Vec::new(),
        prerequisites: rows,
    }
}

#[test]
fn the_exit_code_tells_whether_what_was_asked_for_is_possible() {
    use Availability::{No, Unknown, Yes};
    for (observe, enforce, plain, strict) in [
        (Yes, Yes, Exit::Success, Exit::Success),
        (Yes, No, Exit::Success, Exit::Unsupported),
        (No, Yes, Exit::Unsupported, Exit::Unsupported),
        (Unknown, Unknown, Exit::Success, Exit::Success),
    ] {
        let report = report(vec![row(observe, NeededFor::Observe), row(enforce, NeededFor::Enforce)]);
        assert_eq!((report.exit(false), report.exit(true)), (plain, strict), "{observe:?} {enforce:?}");
    }
}

#[test]
fn the_json_has_a_schema_and_one_object_for_each_prerequisite() {
    let report = report(vec![row(Availability::No, NeededFor::ExactInventory)]);
    let json: Value = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "schema": 1,
            "kernel": {"release": "6.12.9", "page_size_bytes": 4096, "struct_page_size_bytes": null},
            "observe": "yes",
            "exact_inventory": "no",
            "enforce": "yes",
            "warnings": [],
            "prerequisites": [{
                "name": "thing",
                "answer": "no",
                "seen": "what was seen",
                "needed_for": "exact_inventory",
                "remedy": "load it",
            }],
        })
    );
}

fn text(report: &DoctorReport, width: u16) -> String {
    let mut text = Vec::new();
    write_table(&mut text, report, width).unwrap();
    String::from_utf8(text).unwrap()
}

/// A kernel without BTF of modules and without `bpf` in its list, as a person sees it on 80 and on 120 columns.
#[test]
fn the_screen() {
    let mut host = crate::kernel::prerequisites::tests::host();
    host.types = Err("/sys/kernel/btf/vmlinux: No such file or directory".to_owned());
    let mut report = DoctorReport::new(&host);
    report.warnings.push("this kernel does not return a memmap in DRAM".to_owned());
    for width in [80, 120] {
        let text = text(&report, width);
        assert!(
            text.lines().all(|line| line.chars().count() <= usize::from(width) || !line.starts_with(' ')),
            "{text}"
        );
        crate::cli::output::screens::compare(&format!("doctor_{width}"), &text);
    }
}

#[test]
fn the_table_says_what_was_seen_what_to_do_and_what_follows() {
    let report = report(vec![row(Availability::No, NeededFor::Observe), row(Availability::Yes, NeededFor::Enforce)]);
    let text = text(&report, 100);
    for part in [
        "Linux 6.12.9: page 4 KiB, struct page unknown",
        "what was seen",
        "→ load it",
        "cannot be observed: it lacks thing.",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours");
}

#[test]
fn a_known_defect_of_the_kernel_is_a_line() {
    let mut report = report(Vec::new());
    report.warnings.push("this kernel does not return a memmap in DRAM".to_owned());
    let text = text(&report, 100);
    assert!(text.contains("\nWarning: this kernel does not return a memmap in DRAM.\n"), "{text}");
}
