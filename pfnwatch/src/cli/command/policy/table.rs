//! The explanation for people.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use super::creation::{Creation, Evaluation, PolicyOutcome};
use super::explanation::{Example, Explanation};
use crate::model::policy::Mode;
use crate::model::units::Bytes;
use crate::policy::{describe_limits, describe_mode, describe_on_agent_exit};

pub(super) fn render(explanation: &Explanation) -> String {
    let mut text = format!("{} is valid.\n", explanation.file);
    // Writing to a string does not fail.
    let (mode, exit) = (explanation.mode, explanation.on_agent_exit);
    let _ = writeln!(text, "\nMode {}: {}.", mode, describe_mode(mode));
    let _ = writeln!(text, "When the agent goes, {}: {}.", exit.as_str(), describe_on_agent_exit(exit));
    limits(&mut text, explanation);
    exemptions(&mut text, explanation);
    if !explanation.warnings.is_empty() {
        text.push_str("\nWarnings:\n");
        for warning in &explanation.warnings {
            let _ = writeln!(text, "  - {warning}.");
        }
    }
    if let Some(against) = &explanation.against {
        render_evaluation(&mut text, against, mode);
    }
    text
}

fn limits(text: &mut String, explanation: &Explanation) {
    let _ = write!(
        text,
        "\nJudged is what is about to be made with map=dev, in fsdax or devdax mode. Namespaces that are there\n\
         already are always enabled; map=mem, sector and raw are never judged. One is oversize when it would\nreserve {}.\n\
         At an align of 2 MiB, with pages of 4 KiB:\n\n",
        describe_limits(&explanation.thresholds).replace(", by more", ",\nby more"),
    );
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NAMESPACE", "IDEAL", "EXCESS THAT PASSES", "WITH THE REGRESSION"]);
    right(&mut table, 0..3);
    for example in &explanation.examples {
        let Example { size_bytes, ideal_bytes, limit_bytes, regressed_reservation_bytes, .. } = *example;
        let verdict = if example.regressed_is_oversize { "OVERSIZE" } else { "passes" };
        let regressed = format!("{}: {verdict}", Bytes(regressed_reservation_bytes));
        let [size, ideal, limit] = [size_bytes, ideal_bytes, limit_bytes].map(|bytes| Bytes(bytes).to_string());
        table.add_row([size, ideal, limit, regressed]);
    }
    let _ = writeln!(text, "{}", table.trim_fmt());
}

fn exemptions(text: &mut String, explanation: &Explanation) {
    if explanation.exemptions.is_empty() {
        text.push_str("\nNo exemptions.\n");
        return;
    }
    text.push_str("\nExemptions, which pass all the same:\n");
    for (number, exemption) in (1..).zip(&explanation.exemptions) {
        let ended = if exemption.has_ended { " (ended)" } else { "" };
        let _ = writeln!(text, "  {number}. {}{ended}", exemption.words);
    }
}

fn render_evaluation(text: &mut String, against: &Evaluation, mode: Mode) {
    let from_events = against.what == "events";
    let _ = writeln!(
        text,
        "\n{}",
        if from_events {
            "Had this policy been in force when these were seen:"
        } else {
            "Were the namespaces of this host made again just as they are:"
        }
    );
    if against.creations.is_empty() {
        text.push_str("  nothing with map=dev to judge.\n");
    } else {
        let _ = writeln!(text, "\n{}\n", creations(&against.creations, from_events).trim_fmt());
        for creation in against.creations.iter().filter(|creation| creation.decision != PolicyOutcome::Passes) {
            let name = creation.namespace.as_deref().unwrap_or("a namespace");
            let _ = writeln!(text, "{name}: {}", creation.detail);
        }
    }
    totals(text, against, mode);
    if let Some(first) = &against.first_unreadable {
        let _ = writeln!(text, "{} lines are no events and were left out; {first}", against.unreadable_lines);
    }
}

fn creations(creations: &[Creation], from_events: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut header = vec!["NAMESPACE", "SIZE", "RESERVED", "IDEAL", "EXCESS", "THIS POLICY"];
    if from_events {
        header.splice(0..0, ["TIME", "SEEN"]);
    }
    let sizes = header.len() - 5..header.len() - 1;
    table.set_header(header);
    right(&mut table, sizes);
    for creation in creations {
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| Bytes(bytes).to_string());
        let told = [&creation.time, &creation.event].into_iter().flatten().map(|text| text.replace('_', " "));
        let numbers = [creation.size_bytes, creation.reservation_bytes, creation.ideal_bytes, creation.excess_bytes];
        let mut cells: Vec<_> = told.collect();
        cells.push(creation.namespace.clone().unwrap_or_else(|| "?".to_owned()));
        cells.extend(numbers.map(size));
        cells.push(creation.decision.as_str().to_owned());
        table.add_row(cells);
    }
    table
}

fn totals(text: &mut String, against: &Evaluation, mode: Mode) {
    let counts = &against.counts;
    let denied = counts.denied.saturating_add(counts.would_deny);
    let word = if mode == Mode::Enforce { "denied" } else { "would be denied under enforce" };
    let _ = write!(text, "{denied} {word}");
    if denied > 0 {
        let _ = write!(text, " ({} too much)", Bytes(counts.denied_excess_bytes));
    }
    let _ = writeln!(
        text,
        ", {} exempt, {} pass, {} cannot be told; {} not judged",
        counts.exempt, counts.passes, counts.unknown, against.unjudged
    );
}

fn right(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
