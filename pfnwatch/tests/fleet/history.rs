//! Two weeks that have passed: what Prometheus would have kept of the made-up hosts, written into its storage with promtool.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use pfnwatch::export::metrics::{of_view, render};

use super::simulation::cluster;
use super::stack::tool;
use super::view;

const HOUR: u64 = 3600;
const DAYS: u64 = 15;

/// The samples of one host at so many hours before now; empty while it does not exist.
struct HostSample {
    up: bool,
    judges: bool,
    would_deny: u64,
}

fn host_sample(host: usize, hours_ago: u64) -> Option<HostSample> {
    let (mut up, mut judges, mut would_deny) = (true, true, 1);
    match host {
        // Somebody made three oversize namespaces there, five days ago.
        3 if hours_ago < 5 * 24 => would_deny = 4,
        // Its kernel was booted without the list of security modules for a day.
        11 => judges = !(48..72).contains(&hours_ago),
        // It is new.
        19 if hours_ago > 3 * 24 => return None,
        // It was away for half a week.
        23 => up = !(100..184).contains(&hours_ago),
        _ => {}
    }
    Some(HostSample { up, judges, would_deny })
}

/// Writes the history of so many hosts into the folder of a Prometheus that has not started yet.
pub(crate) fn write(data: &Path, hosts: usize) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 60;
    type Value = fn(&HostSample) -> Option<u64>;
    let families: [(&str, &str, Value); 4] = [
        ("up", "gauge", |it| Some(it.up.into())),
        ("pfnwatch_build_info", "gauge", |it| it.up.then_some(1)),
        ("pfnwatch_guard_judges", "gauge", |it| it.up.then_some(it.judges.into())),
        ("pfnwatch_guard_outcomes_total", "counter", |it| it.up.then_some(it.would_deny)),
    ];
    let mut text = String::new();
    for (name, kind, value) in families {
        writeln!(text, "# TYPE {} {kind}", name.trim_end_matches("_total")).unwrap();
        let label = match name {
            "pfnwatch_guard_outcomes_total" => ",outcome=\"would_deny\"",
            "pfnwatch_build_info" => ",version=\"0.1.0\"",
            _ => "",
        };
        for host in 0..hosts {
            for hours_ago in (0..DAYS * 24).rev() {
                let Some(value) = host_sample(host, hours_ago).as_ref().and_then(value) else { continue };
                let labels = format!("job=\"pfnwatch\",instance=\"host{host}\",cluster=\"{}\"{label}", cluster(host));
                writeln!(text, "{name}{{{labels}}} {value} {}", now - hours_ago * HOUR).unwrap();
            }
        }
    }
    backfill(data, text + "# EOF\n");
}

fn backfill(data: &Path, text: String) {
    fs::create_dir_all(data).unwrap();
    let file = data.join("history.txt");
    fs::write(&file, text).unwrap();
    let words = ["tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=720h", "--quiet"];
    let output = Command::new(tool("promtool")).args(words).arg(&file).arg(data).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::remove_file(file).unwrap();
}

/// Prometheus' bytes on disk for one sample: a day of one agent's series, scraped every minute, of which a counter and
/// the agent's memory change.
pub(crate) fn bytes_per_sample() -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 25 * HOUR;
    let page = render(&of_view(&view::healthy()));
    let (mut text, mut samples) = (String::new(), 0_u32);
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            writeln!(text, "# TYPE {}", kind.replace("_total counter", " counter")).unwrap();
        }
        let Some((series, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else { continue };
        for minute in 0..24 * 60 {
            let moves = series.contains("resident_memory") || series.contains("guard_judged");
            let value = value.parse::<f64>().unwrap() + if moves { f64::from(minute / 7 * 4096) } else { 0.0 };
            writeln!(text, "{series} {value} {}", start + u64::try_from(minute).unwrap() * 60).unwrap();
            samples += 1;
        }
    }
    backfill(folder.path(), text + "# EOF\n");
    size(folder.path()) / f64::from(samples)
}

fn size(folder: &Path) -> f64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| match entry.metadata().unwrap() {
            folder if folder.is_dir() => size(&entry.path()),
            file => file.len().to_string().parse().unwrap(),
        })
        .sum()
}
