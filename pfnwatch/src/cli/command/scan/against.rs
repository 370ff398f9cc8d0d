//! `scan --against FILE`: this host compared with another day or another host.

mod earlier;
mod pairs;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Serialize;

use self::earlier::EarlierReport;
use self::pairs::{ComparedNamespace, pair};
use super::ScanFormat;
use super::report::{self, NamespaceRow};
use crate::model::event::SCHEMA;
use crate::model::exit::ExitContext;
use crate::model::scan_result::ScanResult;

/// What has changed from a report to the host as it is now.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(in crate::cli::command) struct Comparison {
    /// The version of this document.
    schema: u32,
    /// The report that was given.
    before: Side,
    /// This host, now.
    after: Side,
    /// Whether a namespace costs more than it did.
    regressed: bool,
    /// What regressed namespaces have lost, in bytes.
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
    /// When it was looked at, in RFC 3339; none in reports of old.
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
            ScanFormat::Table => Ok(table::render(self)),
            ScanFormat::Json => Ok(serde_json::to_string_pretty(self)? + "\n"),
            ScanFormat::Csv | ScanFormat::Prom => {
                Err(ExitContext::usage("a comparison is written as a table or as JSON: `--format table|json`").into())
            }
        }
    }
}
