//! One line for each namespace, with a header.

use super::report::NamespaceRow;
use crate::model::scan_result::ScanResult;

pub(super) fn render(scan: &ScanResult) -> anyhow::Result<String> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    for judged in &scan.namespaces {
        lines.serialize(NamespaceRow::from(judged))?;
    }
    Ok(String::from_utf8(lines.into_inner()?)?)
}
