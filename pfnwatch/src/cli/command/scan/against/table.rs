//! The comparison for people.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use super::{ComparedNamespace, Comparison, Side};
use crate::model::units::Bytes;

const HEADER: [&str; 7] = ["NAMESPACE", "SIZE", "MAP", "RESERVED THEN", "NOW", "EXCESS THEN", "NOW"];

pub(super) fn render(comparison: &Comparison) -> String {
    let mut text = format!("then: {}\nnow:  {}\n", side(&comparison.before), side(&comparison.after));
    let changed: Vec<_> = comparison.namespaces.iter().filter(|pair| pair.changed()).collect();
    if !changed.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(HEADER);
        for column in [1, 3, 4, 5, 6] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.add_rows(changed.iter().map(|pair| row(pair)));
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{}", table.trim_fmt());
    }
    let same = comparison.namespaces.len() - changed.len();
    let _ = writeln!(text, "\nnamespaces as they were: {same}; changed: {}.", changed.len());
    only(&mut text, "there only then", &comparison.only_before);
    only(&mut text, "there only now", &comparison.only_after);
    for pair in comparison.namespaces.iter().filter(|pair| pair.regressed) {
        let _ = writeln!(
            text,
            "{} (the same {}) costs {} now and cost {}: {} lost",
            pair.namespace,
            pair.paired_by.describe(),
            known(pair.after.reservation_bytes),
            known(pair.before.reservation_bytes),
            known(pair.more_bytes),
        );
    }
    let _ = match comparison.regressed {
        true => writeln!(text, "Capacity has regressed: {} are lost.", Bytes(comparison.lost_bytes)),
        false => writeln!(text, "No namespace costs more than it did."),
    };
    text
}

fn side(side: &Side) -> String {
    let struct_page = side.struct_page_size_bytes.map_or_else(|| "?".to_owned(), |bytes| bytes.to_string());
    format!(
        "{} under {} (struct page of {struct_page} B): {} reserved, {} of it too much",
        side.time.as_deref().unwrap_or("some day"),
        side.kernel,
        Bytes(side.reservation_bytes),
        Bytes(side.excess_bytes),
    )
}

fn row(pair: &ComparedNamespace) -> [String; 7] {
    let map = |map: &Option<String>| map.clone().unwrap_or_else(|| "-".to_owned());
    let maps = (map(&pair.before.map), map(&pair.after.map));
    [
        pair.namespace.clone(),
        known(pair.after.size_bytes),
        if maps.0 == maps.1 { maps.1 } else { format!("{} -> {}", maps.0, maps.1) },
        known(pair.before.reservation_bytes),
        known(pair.after.reservation_bytes),
        known(pair.before.excess_bytes),
        known(pair.after.excess_bytes),
    ]
}

fn known(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), |bytes| Bytes(bytes).to_string())
}

fn only(text: &mut String, when: &str, names: &[String]) {
    if !names.is_empty() {
        let _ = writeln!(text, "{when}: {}", names.join(", "));
    }
}
