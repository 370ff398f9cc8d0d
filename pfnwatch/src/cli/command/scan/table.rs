//! The report for people.

mod devices;

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use pfnwatch_common::Map;

use super::report::percent;
use crate::cli::output::bar::{self, BarPart};
use crate::cli::output::terminal::Terminal;
use crate::model::facts::{NamespaceMode, map_name};
use crate::model::scan_result::{AssessedNamespace, ScanResult};
use crate::model::units::{Bytes, Plural};
use crate::model::verdict::{Assessment, Cause, Evidence, Numbers, Verdict};

const BAR_WIDTH: usize = 24;
const HEADER: [&str; 12] = [
    "NAME",
    "KIND",
    "MODE",
    "MAP",
    "SIZE",
    "USABLE",
    "RESERVED",
    "IDEAL",
    "EXCESS",
    "DRAM",
    "VERDICT",
    "FIRST TO LAST BYTE",
];

pub(super) fn render(scan: &ScanResult, terminal: Terminal) -> String {
    if scan.namespaces.is_empty() && scan.devices.is_empty() {
        return nothing(scan);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEADER);
    for column in 4..10 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for assessed in &scan.namespaces {
        table.add_row(row(assessed, terminal));
    }
    table.add_rows(scan.devices.iter().map(|assessed| devices::row(assessed, terminal)));
    let mut text = format!("{}\n\n{}\n", table.trim_fmt(), bar::legend(terminal));
    if !scan.namespaces.is_empty() {
        totals(&mut text, scan);
    }
    devices::totals(&mut text, scan);
    memmaps(&mut text, scan);
    conclusion(&mut text, scan);
    remarks(&mut text, scan);
    devices::remarks(&mut text, scan);
    text
}

fn nothing(scan: &ScanResult) -> String {
    match scan.regions.len() {
        0 => "No persistent memory and no other device with a memmap on this host: there is nothing to judge.\n"
            .to_owned(),
        count => {
            let mut text =
                format!("No namespaces in {count} region(s) of persistent memory: there is nothing to judge.\n");
            closed_regions(&mut text, scan);
            text
        }
    }
}

fn row(assessed: &AssessedNamespace, terminal: Terminal) -> [String; 12] {
    let assessment = &assessed.assessment;
    let numbers = &assessment.numbers;
    [
        assessed.namespace.name.clone(),
        "namespace".to_owned(),
        assessed.mode().to_owned(),
        assessed.map().map_or("-", map_name).to_owned(),
        size(numbers.size),
        size(numbers.usable),
        approximate(assessment) + &size(numbers.reservation),
        size(numbers.ideal),
        size(numbers.excess),
        size(numbers.dram),
        verdict(assessment),
        bar(numbers, terminal),
    ]
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), |bytes| Bytes(bytes).to_string())
}

fn approximate(assessment: &Assessment) -> String {
    if assessment.evidence == Some(Evidence::Inferred) { "~".to_owned() } else { String::new() }
}

fn verdict(assessment: &Assessment) -> String {
    let word = match assessment.verdict {
        Verdict::Ok => "ok",
        Verdict::Oversize => "OVERSIZE",
        Verdict::Refused => "REFUSED",
        Verdict::Unknown => "unknown",
    };
    match (assessment.cause, assessment.cause.class()) {
        (_, Some(class)) => format!("{word} ({class})"),
        (Cause::None, None) => word.to_owned(),
        (cause, None) => format!("{word} ({})", cause.as_str().replace('_', " ")),
    }
}

fn bar(numbers: &Numbers, terminal: Terminal) -> String {
    let (Some(size), Some(usable), Some(reservation)) = (numbers.size, numbers.usable, numbers.reservation) else {
        return String::new();
    };
    let excess = numbers.excess.unwrap_or(0);
    let parts = [
        (BarPart::Memmap, reservation.saturating_sub(excess)),
        (BarPart::Excess, excess),
        (BarPart::Usable, usable),
        (BarPart::Cut, numbers.end_trunc.unwrap_or(0)),
    ];
    bar::draw(&parts, size, BAR_WIDTH, terminal)
}

fn totals(text: &mut String, scan: &ScanResult) {
    let totals = &scan.totals;
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "{}, {}: {} usable, {} reserved",
        Plural(totals.namespaces, "namespace"),
        Bytes(totals.size_bytes),
        Bytes(totals.usable_bytes),
        Bytes(totals.reservation_bytes)
    );
    if totals.excess_bytes > 0 {
        let share = percent(totals.excess_bytes, totals.size_bytes).unwrap_or(0.0);
        let _ = write!(text, ", {} ({share:.2} %) too much", Bytes(totals.excess_bytes));
    }
    let _ = writeln!(text, "; {} oversize, {} refused, {} unknown", totals.oversize, totals.refused, totals.unknown);
}

fn conclusion(text: &mut String, scan: &ScanResult) {
    if scan.verdict == Verdict::Oversize && scan.totals.oversize == 0 {
        let _ = writeln!(text, "No namespace alone is oversize, but together they lose more than they should.");
    }
    if scan.verdict == Verdict::Oversize {
        let _ = writeln!(text, "`pfnwatch plan` prints what a rebuild returns, and its commands.");
    }
}

/// What the memmaps take of DRAM, beside the kernel's counter, which has more in it.
fn memmaps(text: &mut String, scan: &ScanResult) {
    let (namespaces, devices) = (&scan.totals, &scan.device_totals);
    let unknown = [(namespaces.memmap_dram_unknown, "namespace"), (devices.memmap_dram_unknown, "device")];
    let unknown = unknown.iter().filter(|(count, _)| *count > 0).map(|(count, what)| Plural(*count, what).to_string());
    let unknown = unknown.collect::<Vec<_>>().join(" and ");
    let unknown = if unknown.is_empty() { unknown } else { format!(" (unknown for {unknown})") };
    let known = namespaces.memmap_dram_bytes.saturating_add(devices.memmap_dram_bytes);
    let _ = write!(text, "DRAM for memmaps: {}{unknown}", Bytes(known));
    if let Some(counter) = scan.memmap_counter {
        let wrong = if counter.may_overcount_deduplicated && has_deduplicated(scan) {
            ", and this kernel may count deduplicated ones in full"
        } else {
            ""
        };
        let _ = write!(
            text,
            "; nr_memmap_pages of /proc/vmstat: {}, with map=dev and other hotplugged memory{wrong}",
            Bytes(counter.bytes)
        );
    }
    text.push('\n');
}

fn has_deduplicated(scan: &ScanResult) -> bool {
    scan.devices.iter().any(|it| it.memory.deduplicated == Some(true)) || has_deduplicated_namespace(scan)
}

fn has_deduplicated_namespace(scan: &ScanResult) -> bool {
    scan.namespaces
        .iter()
        .any(|it| it.facts.enabled && it.facts.mode == NamespaceMode::Devdax && it.map() == Some(Map::Mem))
        && scan.kernel.deduplicates != Some(false)
}

fn remarks(text: &mut String, scan: &ScanResult) {
    let telling = scan.namespaces.iter().filter(|assessed| {
        let assessment = &assessed.assessment;
        assessment.verdict != Verdict::Ok || assessment.cause != Cause::None
    });
    let mut first = true;
    for assessed in telling {
        let lead = if std::mem::take(&mut first) { "\n" } else { "" };
        let _ = writeln!(text, "{lead}{}: {}", assessed.namespace.name, assessed.assessment.detail);
        let cause = assessed.assessment.cause;
        for hint in assessed.assessment.hints.iter().filter(|hint| hint.cause != cause) {
            let _ = writeln!(text, "  also: {}", hint.detail);
        }
        for found in assessed.users.iter().flatten() {
            let _ = writeln!(text, "  in use: {}", found.user);
        }
    }
    let inferred = |assessed: &AssessedNamespace| assessed.assessment.evidence == Some(Evidence::Inferred);
    if scan.namespaces.iter().any(inferred) {
        let _ = writeln!(text, "\n~ inferred from sizes; root can read the addresses, and then it is exact.");
    }
    if let Some(problem) = &scan.blocks_problem {
        let _ = writeln!(text, "\nThe info blocks could not be read, sysfs has to do: {problem}");
    }
    closed_regions(text, scan);
}

fn closed_regions(text: &mut String, scan: &ScanResult) {
    for region in scan.regions.iter().filter(|region| !region.enabled) {
        let why =
            if region.locked { "locked (`ndctl load-keys` unlocks it)" } else { "disabled (`ndctl enable-region`)" };
        let _ = writeln!(text, "{}: {why}, its namespaces cannot be seen", region.name);
    }
}
