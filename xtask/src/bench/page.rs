//! docs/benchmarks.md names the budgets that the code judges by, and no other.

use std::fs;

use super::{agent, guard, scan};
use crate::paths;

/// Each budget that a benchmark or a check judges by, as the page has it.
fn budgets() -> Vec<(&'static str, String)> {
    vec![
        ("resident memory, idle, 64 namespaces", format!("{} MiB", agent::MAX_RESIDENT_MIB)),
        ("maps and programs in the kernel", format!("{} MiB", agent::MAX_IN_KERNEL_MIB)),
        ("start to attached, of bpftrace's", format!("{}", agent::MAX_START_RATIO)),
        ("guard on a node that is no link, more than an empty program", format!("{} instructions", guard::BUDGET)),
        ("event to line, p99, of bpftrace's", format!("{}", agent::MAX_LINE_RATIO)),
        ("wake-ups a minute, idle", format!("{}", agent::MAX_WAKE_UPS_PER_MINUTE)),
        ("scan of 1,000 namespaces", format!("{} ms", scan::MAX_SCAN_OF_1000.as_millis())),
        ("installed binary", format!("{} MiB", agent::MAX_INSTALLED_MIB)),
    ]
}

#[test]
fn the_page_has_the_budgets_of_the_code() {
    let page = fs::read_to_string(paths::root().join("docs/benchmarks.md")).unwrap();
    for (what, most) in budgets() {
        let row = page.lines().find(|line| line.starts_with(&format!("| {what} |")));
        let row = row.unwrap_or_else(|| panic!("docs/benchmarks.md has no row about {what}"));
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert_eq!(cells[2], most, "{what}");
        assert!(cells[3..].iter().any(|cell| !cell.is_empty()), "{what}: nothing measured: {row}");
    }
}
