//! `pfnwatch fleet --from` over folders of 100, 1,000 and 10,000 hosts' reports: time, and the most memory, which may not grow.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Findings, tree};
use crate::paths;

#[path = "../../../pfnwatch/tests/support/peak.rs"]
mod peak;
#[path = "../../../pfnwatch/tests/support/reports.rs"]
mod reports;

/// Reports in the folder, and how often they are read.
const HOSTS: [(usize, usize); 3] = [(100, 20), (1_000, 10), (10_000, 5)];
/// Namespaces of each host.
const NAMESPACES: u32 = 8;
/// What the most memory may grow by from 100 reports to 10,000, in bytes.
const GROWTH: u64 = 1 << 20;

struct Row {
    hosts: usize,
    folder_bytes: u64,
    median: Duration,
    peak_bytes: u64,
    growth_bytes: u64,
}

impl Row {
    const fn is_missed(&self) -> bool {
        self.growth_bytes > GROWTH
    }

    fn json(&self) -> Value {
        json!({
            "what": format!("{} reports", self.hosts), "folder_bytes": self.folder_bytes,
            "median_us": u64::try_from(self.median.as_micros()).unwrap_or(u64::MAX), "peak_bytes": self.peak_bytes,
            "growth_bytes": self.growth_bytes, "budget_bytes": GROWTH, "missed": self.is_missed()
        })
    }
}

/// Makes each folder, and reads it.
pub(super) fn measure() -> Result<Findings> {
    let pfnwatch = paths::target().join("release/pfnwatch");
    let template = reports::template(&pfnwatch, NAMESPACES).context("no report to begin with")?;
    let mut rows = Vec::<Row>::new();
    for (hosts, runs) in HOSTS {
        let mut row = read(&pfnwatch, &template, hosts, runs)?;
        row.growth_bytes = rows.first().map_or(0, |first| row.peak_bytes.saturating_sub(first.peak_bytes));
        rows.push(row);
    }
    Ok(Findings {
        table: table(&rows),
        report: json!({ "measurements": rows.iter().map(Row::json).collect::<Vec<_>>() }),
        missed: rows.iter().any(Row::is_missed),
    })
}

fn read(pfnwatch: &PathBuf, template: &Value, hosts: usize, runs: usize) -> Result<Row> {
    let folder = reports::folder().context("no folder in memory")?;
    reports::fill(folder.path(), template, hosts)
        .with_context(|| format!("cannot write {hosts} reports to {}", folder.path().display()))?;
    let mut command = Command::new(pfnwatch);
    command.args(["fleet", "--format", "json", "--from"]).arg(folder.path());
    let mut ran = (0..runs).map(|_| once(&mut command, hosts)).collect::<Result<Vec<_>>>()?;
    ran.sort_unstable();
    let median = ran.get(runs / 2).context("nothing was run")?.0;
    let peak_bytes = ran.iter().map(|(_, peak)| *peak).max().unwrap_or_default();
    Ok(Row { hosts, folder_bytes: size(folder.path())?, median, peak_bytes, growth_bytes: 0 })
}

/// A quick answer that leaves a host out is none.
fn once(command: &mut Command, hosts: usize) -> Result<(Duration, u64)> {
    let ran = peak::run(command).context("pfnwatch fleet")?;
    let report: Value = serde_json::from_str(&ran.output).context("pfnwatch fleet printed no JSON")?;
    let counted = report.pointer("/totals/hosts").and_then(Value::as_u64);
    ensure!(ran.code == Some(0), "pfnwatch fleet ended with {:?}", ran.code);
    ensure!(counted == u64::try_from(hosts).ok(), "pfnwatch fleet counted {counted:?} of {hosts} hosts");
    Ok((ran.took, ran.peak_bytes))
}

fn size(folder: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in folder.read_dir()? {
        size += entry?.metadata()?.len();
    }
    Ok(size)
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:16} {:>10} {:>10} {:>12} {:>10} {:>10}\n",
        "pfnwatch fleet", "read", "median", "most memory", "growth", "budget"
    );
    for row in rows {
        let verdict = if row.is_missed() { "MISSED" } else { "met" };
        let reports = format!("{} reports", row.hosts);
        text += &format!(
            "{reports:16} {:>10} {:>7} ms {:>12} {:>10} {:>10}  {verdict}\n",
            kib(row.folder_bytes),
            row.median.as_millis(),
            kib(row.peak_bytes),
            kib(row.growth_bytes),
            kib(GROWTH)
        );
    }
    text
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_by_more_than_the_budget_is_missed() {
        let row = |growth_bytes| Row {
            hosts: 10_000,
            folder_bytes: 1 << 30,
            median: Duration::from_millis(1500),
            peak_bytes: 9 << 20,
            growth_bytes,
        };
        let text = table(&[row(GROWTH), row(GROWTH + 1024)]);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].ends_with("1024 KiB   1024 KiB  met"), "{text}");
        assert!(lines[2].contains("1500 ms") && lines[2].ends_with("MISSED"), "{text}");
        assert_eq!(row(GROWTH + 1).json()["missed"], true);
    }
}
