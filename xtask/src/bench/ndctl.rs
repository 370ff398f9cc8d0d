//! `pfnwatch scan` beside `ndctl list` over a guest's real sysfs: namespaces that a kernel made. ndctl reads no made-up tree: it
//! asks udev and the bus' own device.

use anyhow::{Context, Result};
use guest::bench::{ScanRun, Scanner};
use guest::boot_config::Purpose;
use guest::report::Report;
use serde_json::json;

use super::{Findings, Row, mib, ms};
use crate::setup;
use crate::vm::counted::{self, Place};

/// The budgets are for so many namespaces, in times of what ndctl takes.
const BUDGET_NAMESPACES: u64 = 10;
const BUDGET: f64 = 4.0;
const BUDGET_BESIDE_AGENT: f64 = 1.5;

/// Boots the guest: our two ways to look, with the info blocks and without, each beside ndctl.
pub(super) fn measure() -> Result<Findings> {
    setup::for_vm()?;
    let (place, looks) = counted::run(Purpose::BenchNdctl, &[], |report| match report {
        Report::Looked(look) => Some(*look),
        _ => None,
    })?;
    let Place { release, emulator } = place;
    Ok(Findings {
        head: format!("in {emulator} on kernel {release}: a second is a thousand million instructions"),
        peer: "ndctl list -NuX",
        rows: rows(&looks)?,
        report: json!({ "kernel": release, "emulator": emulator }),
    })
}

fn rows(looks: &[ScanRun]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for look in looks.iter().filter(|look| look.looker != Scanner::Ndctl) {
        let ndctl = looks.iter().find(|it| it.looker == Scanner::Ndctl && it.namespaces == look.namespaces);
        let ndctl = ndctl.with_context(|| format!("ndctl did not list {} namespaces", look.namespaces))?;
        let (how, budget) = match look.looker {
            Scanner::BesideAgent => (", while an agent runs", Some(BUDGET_BESIDE_AGENT)),
            Scanner::Scan => ("", Some(BUDGET)),
            Scanner::WithoutEbpf | Scanner::Ndctl => (", without eBPF", None),
        };
        let what = format!("{} namespaces{how}", look.namespaces);
        let peer = ms(ndctl.cost.took);
        let budget = budget.filter(|_| look.namespaces == BUDGET_NAMESPACES).map(|times| times * peer);
        rows.push(Row { budget, ..Row::new(what, "ms", ms(look.cost.took)).beside(peer) });
        rows.push(Row::new("  memory", "MiB", mib(look.cost.peak_bytes)).beside(mib(ndctl.cost.peak_bytes)));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use guest::bench::cost::Cost;

    use super::*;

    #[test]
    fn each_scan_is_compared_with_ndctl_and_its_budget() {
        let look = |looker, millis| ScanRun {
            looker,
            namespaces: 10,
            cost: Cost { took: Duration::from_millis(millis), peak_bytes: 1 << 20 },
        };
        let looks = [
            look(Scanner::Scan, 30),
            look(Scanner::WithoutEbpf, 3),
            look(Scanner::BesideAgent, 4),
            look(Scanner::Ndctl, 20),
        ];
        let found = rows(&looks).unwrap();
        let times: Vec<_> = found.iter().filter(|row| row.unit == "ms").map(|row| (row.ours, row.budget)).collect();
        assert_eq!(times, [(30.0, Some(80.0)), (3.0, None), (4.0, Some(30.0))]);
        assert!(rows(&looks[..2]).is_err());
    }
}
