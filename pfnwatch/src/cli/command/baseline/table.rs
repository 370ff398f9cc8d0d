//! The same for people.

use std::fmt::Write as _;

use super::report::{BaselineKernel, BaselineReport, NamespaceCost};
use crate::cli::output::table::table;
use crate::model::capacity::{Acceptance, Cost, RegressionSubject, display};
use crate::model::units::Bytes;

const KERNELS: [&str; 6] = ["", "KERNEL", "STRUCT PAGE", "FOR EACH PAGE", "1 TIB COSTS", "LAST SEEN"];
const NAMESPACES: [&str; 6] = ["NAMESPACE", "SIZE", "COSTS", "AT LEAST", "UNDER", "LOST"];

pub(super) fn render(report: &BaselineReport) -> String {
    if report.kernels.is_empty() {
        return "No agent has found out yet what a kernel reserves here: there is nothing to hold anything against.\n\
                `pfnwatch run` does, and keeps it in its event store.\n"
            .to_owned();
    }
    let mut kernels = table(&KERNELS, &[2, 3, 4]);
    kernels.add_rows(report.kernels.iter().map(kernel));
    let mut text = format!("{}\n", kernels.trim_fmt());
    if !report.namespaces.is_empty() {
        let mut namespaces = table(&NAMESPACES, &[1, 2, 3, 5]);
        namespaces.add_rows(report.namespaces.iter().map(namespace));
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{}", namespaces.trim_fmt());
    }
    text.push('\n');
    for regression in &report.regressions {
        let _ = writeln!(text, "REGRESSED {}", regression.detail);
    }
    for accepted in accepted(report) {
        let _ = writeln!(text, "accepted  {accepted}");
    }
    if report.regressions.is_empty() {
        text.push_str("Nothing costs more than it did.\n");
    }
    text
}

/// What is the baseline because somebody said so.
fn accepted(report: &BaselineReport) -> impl Iterator<Item = String> {
    let said = |what: String, bytes, it: &Acceptance| {
        format!("{what} may cost {}: {}; by {} on {}", Bytes(bytes), it.reason, it.by, it.time)
    };
    let standing = report.kernels.iter().filter(|kernel| !kernel.set_aside);
    let kernels = standing.filter_map(move |it| {
        Some(said(
            display::subject_text(&RegressionSubject::Host),
            it.reservation_of_1_tib_bytes?,
            it.accepted.as_ref()?,
        ))
    });
    let namespace = |row: &NamespaceCost| display::subject_text(&RegressionSubject::Namespace(row.namespace.clone()));
    let rows = report.namespaces.iter();
    kernels
        .chain(rows.filter_map(move |it| Some(said(namespace(it), it.least.reservation_bytes, it.accepted.as_ref()?))))
}

fn kernel(kernel: &BaselineKernel) -> [String; 6] {
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| format!("{bytes} B"));
    [
        if kernel.current { "*" } else { "" }.to_owned(),
        kernel.kernel.clone(),
        bytes(kernel.struct_page_size_bytes),
        bytes(kernel.max_struct_page_size_bytes),
        kernel.reservation_of_1_tib_bytes.map_or_else(|| "?".to_owned(), |bytes| Bytes(bytes).to_string()),
        kernel.last_seen.clone(),
    ]
}

fn namespace(row: &NamespaceCost) -> [String; 6] {
    let reserved = |cost: &Cost| Bytes(cost.reservation_bytes).to_string();
    [
        row.namespace.namespace.clone(),
        Bytes(row.namespace.size_bytes).to_string(),
        row.now.as_ref().map_or_else(|| "gone".to_owned(), reserved),
        reserved(&row.least),
        row.least.kernel.clone(),
        row.lost_bytes.map_or_else(|| "-".to_owned(), |bytes| Bytes(bytes).to_string()),
    ]
}
