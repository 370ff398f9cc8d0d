//! `pfnwatch fleet --from` over folders of 100, 1,000 and 10,000 hosts' reports: time, and the most memory, which may not grow.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Findings, Row, mib, ms, quantile, tree};
use crate::paths;

#[path = "../../../pfnwatch/tests/support/peak.rs"]
mod peak;
#[path = "../../../pfnwatch/tests/support/reports.rs"]
mod reports;

/// Reports in the folder, and how often they are read.
const HOSTS: [(usize, usize); 3] = [(100, 20), (1_000, 10), (10_000, 5)];
const NAMESPACES: u32 = 8;
/// What the most memory may grow by from 100 reports to 10,000, in bytes.
const GROWTH: u64 = 1 << 20;

pub(super) fn measure() -> Result<Findings> {
    let pfnwatch = paths::agent();
    let template = reports::template(&pfnwatch, NAMESPACES).context("no report to begin with")?;
    let (mut rows, mut first) = (Vec::new(), None);
    for (hosts, runs) in HOSTS {
        let folder = reports::folder().context("no folder in memory")?;
        reports::fill(folder.path(), &template, hosts)
            .with_context(|| format!("cannot write {hosts} reports to {}", folder.path().display()))?;
        let (median, peak_bytes) = read(&pfnwatch, folder.path(), hosts, runs)?;
        rows.push(Row::new(format!("{hosts} reports"), "ms", median));
        rows.push(Row::new("  most memory", "MiB", mib(peak_bytes)));
        rows.extend(growth(peak_bytes, *first.get_or_insert(peak_bytes)));
    }
    Ok(Findings::new("pfnwatch fleet --from FOLDER", "", rows))
}

/// What the most memory grew by, beside the smallest folder.
fn growth(peak_bytes: u64, first_bytes: u64) -> Option<Row> {
    let grown = peak_bytes.saturating_sub(first_bytes);
    (peak_bytes != first_bytes).then(|| Row::new("  growth of it", "MiB", mib(grown)).at_most(mib(GROWTH)))
}

/// The time in the middle in milliseconds, and the most memory.
fn read(pfnwatch: &Path, folder: &Path, hosts: usize, runs: usize) -> Result<(f64, u64)> {
    let mut command = Command::new(pfnwatch);
    command.args(["fleet", "--format", "json", "--from"]).arg(folder);
    let ran = (0..runs).map(|_| once(&mut command, hosts)).collect::<Result<Vec<_>>>()?;
    let times = ran.iter().map(|(time, _)| *time).collect();
    let peak_bytes = ran.iter().map(|(_, peak)| *peak).max().unwrap_or_default();
    Ok((quantile(times, 50).context("nothing was run")?, peak_bytes))
}

/// A quick answer that leaves a host out is none.
fn once(command: &mut Command, hosts: usize) -> Result<(f64, u64)> {
    let ran = peak::run(command).context("pfnwatch fleet")?;
    let report: Value = serde_json::from_str(&ran.output).context("pfnwatch fleet printed no JSON")?;
    let counted = report.pointer("/totals/hosts").and_then(Value::as_u64);
    ensure!(ran.code == Some(0), "pfnwatch fleet ended with {:?}", ran.code);
    ensure!(counted == u64::try_from(hosts).ok(), "pfnwatch fleet counted {counted:?} of {hosts} hosts");
    Ok((ms(ran.took), ran.peak_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_by_more_than_the_budget_is_missed() {
        let missed = |peak| growth(peak, 9 << 20).map(|row| row.is_missed());
        assert_eq!([9 << 20, 10 << 20, (10 << 20) + 1024].map(missed), [None, Some(false), Some(true)]);
    }
}
