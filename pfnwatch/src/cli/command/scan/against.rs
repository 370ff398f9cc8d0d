//! `scan --against FILE`: this host compared with another day or another host.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use super::ScanFormat;
use super::report::{self, NamespaceRow};
use crate::model::event::SCHEMA;
use crate::model::exit::ExitContext;
use crate::model::scan_result::ScanResult;
use crate::model::units::Bytes;

/// What has changed from a report to the host as it is now.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::cli::command) struct Comparison {
    /// The version of this document.
    schema: u32,
    /// The report to compare with.
    before: Side,
    /// This host, now.
    after: Side,
    /// Whether a namespace costs more than it did.
    regressed: bool,
    /// Excess of the regressed namespaces, in bytes.
    lost_bytes: u64,
    /// The namespaces of both.
    namespaces: Vec<ComparedNamespace>,
    /// The names of those that were there only then.
    only_before: Vec<String>,
    /// The names of those that are there only now.
    only_after: Vec<String>,
}

/// One of the two.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ComparedSide"))]
struct Side {
    /// When it was read, in RFC 3339; null in old reports.
    time: Option<String>,
    /// The kernel's release.
    kernel: String,
    /// `sizeof(struct page)` of that kernel, in bytes.
    struct_page_size_bytes: Option<u64>,
    /// Sum of the namespaces' reservations.
    reservation_bytes: u64,
    /// Sum of the namespaces' excess.
    excess_bytes: u64,
}

impl Comparison {
    /// Compares a host with the report in a file.
    ///
    /// # Errors
    /// The file cannot be read, or is no report of `scan --format json`: exit code 2.
    pub(super) fn compare(file: &Path, scan: &ScanResult) -> anyhow::Result<Self> {
        Ok(Self::of(EarlierReport::read(file)?, scan))
    }

    fn of(earlier: EarlierReport, scan: &ScanResult) -> Self {
        let after = Side {
            time: Some(report::now().to_string()),
            kernel: scan.kernel.release.clone(),
            struct_page_size_bytes: scan.kernel.struct_page_size,
            reservation_bytes: scan.totals.reservation_bytes,
            excess_bytes: scan.totals.excess_bytes,
        };
        let EarlierReport { time, kernel, totals, namespaces, .. } = earlier;
        let before = Side {
            time,
            kernel: kernel.release,
            struct_page_size_bytes: kernel.struct_page_size_bytes,
            reservation_bytes: totals.reservation_bytes,
            excess_bytes: totals.excess_bytes,
        };
        let (namespaces, only_before, only_after) =
            pair(namespaces, scan.namespaces.iter().map(NamespaceRow::from).collect());
        let lost = namespaces.iter().filter(|pair| pair.regressed).map(|pair| pair.more_bytes.unwrap_or(0));
        let lost_bytes = lost.fold(0, u64::saturating_add);
        let regressed = namespaces.iter().any(|pair| pair.regressed);
        Self { schema: SCHEMA, before, after, regressed, lost_bytes, namespaces, only_before, only_after }
    }

    pub(super) const fn regressed(&self) -> bool {
        self.regressed
    }

    /// # Errors
    /// A comparison does not have this format: exit code 2.
    pub(super) fn render(&self, format: ScanFormat) -> anyhow::Result<String> {
        match format {
            ScanFormat::Table => Ok(render(self)),
            ScanFormat::Json => Ok(serde_json::to_string_pretty(self)? + "\n"),
            ScanFormat::Csv | ScanFormat::Prom => {
                Err(ExitContext::usage("a comparison is written as a table or as JSON: `--format table|json`").into())
            }
        }
    }
}

#[derive(Debug, Deserialize)]
struct EarlierReport {
    schema: u32,
    time: Option<String>,
    kernel: EarlierKernel,
    totals: EarlierTotals,
    namespaces: Vec<EarlierNamespace>,
}

#[derive(Debug, Deserialize)]
struct EarlierKernel {
    release: String,
    struct_page_size_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct EarlierTotals {
    reservation_bytes: u64,
    excess_bytes: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct EarlierNamespace {
    namespace: String,
    namespace_uuid: Option<String>,
    start_address: Option<u64>,
    #[serde(flatten)]
    costs: Costs,
}

/// What it cost, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ComparedCosts"))]
struct Costs {
    /// `fsdax`, `devdax`, `sector` or `raw`.
    mode: String,
    /// Where the memmap is: `dev` or `mem`.
    map: Option<String>,
    /// Its size in bytes.
    size_bytes: Option<u64>,
    /// Usable bytes.
    usable_bytes: Option<u64>,
    /// From its start to its first usable byte.
    reservation_bytes: Option<u64>,
    /// reservation - ideal, never negative.
    excess_bytes: Option<u64>,
    /// `ok`, `oversize`, `refused` or `unknown`.
    verdict: String,
}

impl EarlierReport {
    /// # Errors
    /// The file cannot be read, or is no such report: exit code 2.
    fn read(file: &Path) -> anyhow::Result<Self> {
        let shown = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("{shown} cannot be read"))?;
        Self::parse(&text)
            .with_context(|| ExitContext::usage(format!("{shown} is not a report of `pfnwatch scan --format json`")))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let earlier: Self = serde_json::from_str(text)?;
        anyhow::ensure!(
            earlier.schema == SCHEMA,
            "its schema is {}, and this pfnwatch reads schema {SCHEMA}: use the version that wrote it",
            earlier.schema
        );
        Ok(earlier)
    }
}

/// A namespace then and now.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ComparedNamespace"))]
struct ComparedNamespace {
    /// Its name now.
    namespace: String,
    /// How it was recognised.
    paired_by: PairedBy,
    /// What it cost then.
    before: Costs,
    /// What it costs now.
    after: Costs,
    /// By how much the reservation grew, in bytes; null if it did not, or if that is not known.
    more_bytes: Option<u64>,
    /// Whether it costs more, and not because of another size, map or align.
    regressed: bool,
}

/// How a namespace was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum PairedBy {
    /// It has the same namespace uuid.
    NamespaceUuid,
    /// It has the same first address and size.
    Address,
    /// It has the same name and size: another host that is built alike.
    Name,
}

/// Pairs them by uuid, the rest by place, the rest by name. Also returns the unpaired names, of then and of now.
fn pair(
    mut before: Vec<EarlierNamespace>,
    mut after: Vec<NamespaceRow>,
) -> (Vec<ComparedNamespace>, Vec<String>, Vec<String>) {
    let mut pairs = Vec::new();
    for by in [PairedBy::NamespaceUuid, PairedBy::Address, PairedBy::Name] {
        let mut left = Vec::new();
        for now in after {
            match before.iter().position(|then| by.is_same(then, &now)) {
                Some(place) => pairs.push(ComparedNamespace::new(before.swap_remove(place), now, by)),
                None => left.push(now),
            }
        }
        after = left;
    }
    pairs.sort_by(|a, b| a.namespace.cmp(&b.namespace));
    let mut only_before: Vec<_> = before.into_iter().map(|known| known.namespace).collect();
    only_before.sort_unstable();
    (pairs, only_before, after.into_iter().map(|row| row.namespace).collect())
}

impl PairedBy {
    fn is_same(self, then: &EarlierNamespace, now: &NamespaceRow) -> bool {
        let known = |then: bool, same: bool| then && same;
        let of_size = known(then.costs.size_bytes.is_some(), then.costs.size_bytes == now.size_bytes);
        match self {
            Self::NamespaceUuid => known(then.namespace_uuid.is_some(), then.namespace_uuid == now.namespace_uuid),
            Self::Address => of_size && known(then.start_address.is_some(), then.start_address == now.start_address),
            Self::Name => of_size && then.namespace == now.namespace,
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::NamespaceUuid => "namespace uuid",
            Self::Address => "address and size",
            Self::Name => "name and size",
        }
    }
}

impl ComparedNamespace {
    fn new(then: EarlierNamespace, now: NamespaceRow, paired_by: PairedBy) -> Self {
        let namespace = now.namespace.clone();
        let (before, after) = (then.costs, Costs::from(now));
        let more = |then: Option<u64>, now: Option<u64>| now?.checked_sub(then?).filter(|more| *more > 0);
        let more_bytes = more(before.reservation_bytes, after.reservation_bytes);
        let regressed = before.size_bytes == after.size_bytes
            && more_bytes.is_some()
            && more(before.excess_bytes, after.excess_bytes).is_some();
        Self { namespace, paired_by, before, after, more_bytes, regressed }
    }

    fn changed(&self) -> bool {
        self.before != self.after
    }
}

impl From<NamespaceRow> for Costs {
    fn from(row: NamespaceRow) -> Self {
        let NamespaceRow { size_bytes, usable_bytes, reservation_bytes, excess_bytes, .. } = row;
        let (mode, map) = (row.mode.to_owned(), row.map.map(ToOwned::to_owned));
        Self {
            mode,
            map,
            size_bytes,
            usable_bytes,
            reservation_bytes,
            excess_bytes,
            verdict: row.verdict.as_str().to_owned(),
        }
    }
}

const HEADER: [&str; 7] = ["NAMESPACE", "SIZE", "MAP", "RESERVED THEN", "NOW", "EXCESS THEN", "NOW"];

fn render(comparison: &Comparison) -> String {
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
