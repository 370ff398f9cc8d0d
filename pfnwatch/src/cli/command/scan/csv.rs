//! One line for each namespace, with a header.

use super::report::NamespaceRow;
use crate::model::survey::ScanResult;

pub(super) fn render(survey: &ScanResult) -> anyhow::Result<String> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    for judged in &survey.namespaces {
        lines.serialize(NamespaceRow::from(judged))?;
    }
    Ok(String::from_utf8(lines.into_inner()?)?)
}
