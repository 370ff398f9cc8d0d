//! The same for people.

use std::fmt::Write as _;

use super::report::{FleetReport, more};
use crate::cli::fleet::{Host, Release, Truncated};
use crate::cli::output::table::table;
use crate::model::units::{Bytes, Plural};

const RELEASES: [&str; 7] =
    ["KERNEL", "FOR EACH PAGE", "MORE PER TIB", "HOSTS", "OVERSIZE HOSTS", "NAMESPACES", "LOST"];
const WORST: [&str; 6] = ["HOST", "CLUSTER", "KERNEL", "NAMESPACES", "LOST", "PLAN GIVES BACK"];

pub(super) fn render(report: &FleetReport) -> String {
    let totals = &report.totals;
    let mut text = format!(
        "{}, {} of {}: {} usable, {} reserved, {} of it lost.\n\
         On {} something is oversize; `pfnwatch plan` there gives back {} in all.\n",
        Plural(totals.hosts, "host"),
        Plural(totals.sums.namespaces, "namespace"),
        Bytes(totals.sums.size_bytes),
        Bytes(totals.sums.usable_bytes),
        Bytes(totals.sums.reservation_bytes),
        Bytes(totals.sums.excess_bytes),
        Plural(totals.oversize_hosts, "host"),
        Bytes(totals.sums.plan_bytes),
    );
    let modes: Vec<_> = report.modes.iter().map(|(mode, hosts)| format!("{hosts} {mode}")).collect();
    // Writing to a string does not fail.
    let _ = writeln!(text, "Guard: {}.", if modes.is_empty() { "no host".to_owned() } else { modes.join(", ") });
    let mut releases = table(&RELEASES, &[1, 2, 3, 4, 5, 6]);
    releases.add_rows(report.releases.iter().map(release));
    let _ = writeln!(text, "\n{}", releases.trim_fmt());
    if !report.worst.is_empty() {
        let mut worst = table(&WORST, &[3, 4, 5]);
        worst.add_rows(report.worst.iter().map(host));
        let _ = writeln!(text, "\n{}", worst.trim_fmt());
    }
    let mut lines: Vec<String> = report.releases.iter().filter_map(regression).collect();
    lines.extend(named("BLIND", &report.blind));
    lines.extend(named("NOT EFFECTIVE", &report.not_effective));
    lines.extend(report.shortcomings());
    if !lines.is_empty() {
        let _ = writeln!(text, "\n{}", lines.join("\n"));
    }
    text
}

fn release(release: &Release) -> [String; 7] {
    let unknown = || "?".to_owned();
    [
        if release.kernel.is_empty() { unknown() } else { release.kernel.clone() },
        release.max_struct_page_size_bytes.map_or_else(unknown, |bytes| format!("{bytes} B")),
        release.extra_bytes_per_tib.map_or_else(unknown, |bytes| Bytes(bytes).to_string()),
        release.hosts.to_string(),
        release.oversize_hosts.to_string(),
        release.namespaces.to_string(),
        Bytes(release.excess_bytes).to_string(),
    ]
}

fn host(host: &Host) -> [String; 6] {
    [
        host.host.clone(),
        host.cluster.clone().unwrap_or_default(),
        host.kernel.clone().unwrap_or_else(|| "?".to_owned()),
        host.sums.namespaces.to_string(),
        Bytes(host.sums.excess_bytes).to_string(),
        Bytes(host.sums.plan_bytes).to_string(),
    ]
}

fn regression(release: &Release) -> Option<String> {
    let extra = release.extra_bytes_per_tib?;
    let costs_more = extra > 0;
    costs_more.then(|| dearer(release, extra))
}

fn dearer(release: &Release, extra: u64) -> String {
    format!(
        "REGRESSED Linux {}: a namespace of 1 TiB costs {} more than under the cheapest kernel of this fleet; it runs on {}",
        release.kernel,
        Bytes(extra),
        Plural(release.hosts, "host")
    )
}

fn named(word: &str, hosts: &Truncated<String>) -> Vec<String> {
    let mut lines: Vec<String> = hosts.first.iter().map(|host| format!("{word} {host}")).collect();
    lines.extend(more(word, hosts));
    lines
}
