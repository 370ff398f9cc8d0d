//! The proof at scale: a regressed kernel is rolled out on a made-up fleet under one real Prometheus and one real Alertmanager.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::simulation::{NOT_RETURNING, REGRESSED, Simulation};
use super::stack::{self, Program, TIMEOUT, get, value, wait};
use super::{history, walkthrough};

const ALARM: &str = "PfnwatchKernelCostsMore";
const DOCUMENTED: usize = 150;
const LARGE: usize = 1000;
const BUDGET: Duration = Duration::from_secs(2);

/// In seconds. Rules are evaluated twice in the time of a scrape, and an alarm waits for two evaluations.
struct Times {
    scrape: usize,
    evaluate: usize,
    alarm: usize,
}

impl Times {
    /// This machine's two processors have time for a hundred scrapes a second, besides their other work.
    fn of(hosts: usize) -> Self {
        let scrape = (hosts / 100).clamp(2, 60);
        Self { scrape, evaluate: scrape / 2, alarm: scrape / 2 * 2 }
    }
}

/// The shipped rules, with shorter waiting times.
fn configuration(folder: &Path, fleet: &Simulation, times: &Times, alertmanager: SocketAddr) -> String {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/prometheus");
    let alerting = fs::read_to_string(rules.join("alerting.rules.yml")).unwrap();
    let shorter = folder.join("alerting.rules.yml");
    fs::write(&shorter, alerting.replace("for: 10m", &format!("for: {}s", times.alarm))).unwrap();
    format!(
        "global: {{scrape_interval: {0}s, scrape_timeout: {0}s, evaluation_interval: {1}s}}\n\
         rule_files: ['{2}', '{3}']\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n\
         scrape_configs: [{{job_name: pfnwatch, static_configs: [\n  {4}]}}]\n",
        times.scrape,
        times.evaluate,
        rules.join("recording.rules.yml").display(),
        shorter.display(),
        fleet.targets(),
    )
}

fn alarms(alertmanager: SocketAddr, name: &str) -> Vec<Value> {
    let all = get(alertmanager, "/api/v2/alerts").unwrap_or_default();
    let ours = all.as_array().into_iter().flatten().filter(|it| it["labels"]["alertname"] == name);
    ours.cloned().collect()
}

#[test]
#[ignore = "needs Prometheus and Alertmanager: `cargo xtask fleet-sim` runs it"]
fn the_rollout_alarm_fires_for_the_regressed_release_alone() {
    let hosts = env::var("PFNWATCH_FLEET_HOSTS").map_or(DOCUMENTED, |text| text.parse().unwrap());
    let (times, folder) = (Times::of(hosts), tempfile::tempdir().unwrap());
    if hosts == DOCUMENTED {
        history::write(&folder.path().join("data"), hosts);
    }
    let fleet = Simulation::start(hosts);
    let alertmanager = stack::free();
    let nobody = "route: { receiver: nobody }\nreceivers: [ { name: nobody } ]\n";
    fs::write(folder.path().join("alertmanager.yml"), nobody).unwrap();
    let _program = stack::alertmanager(folder.path(), alertmanager);
    let config = configuration(folder.path(), &fleet, &times, alertmanager);
    let (server, prometheus) = stack::prometheus(folder.path(), &config, &[]);
    let patience = TIMEOUT + 3 * Duration::from_secs(times.scrape.try_into().unwrap());
    let there = |query: &str, hosts: usize| value(prometheus, query) == hosts.to_string().parse().ok();
    wait("all hosts", patience, || there("count(pfnwatch_kernel_info)", hosts).then_some(()));
    assert!(alarms(alertmanager, ALARM).is_empty(), "an alarm before the rollout");

    fleet.roll_out();
    println!("{hosts} hosts, scraped each {} s, rules evaluated each {} s", times.scrape, times.evaluate);
    let fired = wait("the alarm", patience + Duration::from_secs(times.alarm.try_into().unwrap()), || {
        alarms(alertmanager, ALARM).pop()
    });
    assert_eq!(fired["labels"]["release"], REGRESSED);
    in_time(prometheus, &times);
    let query = format!("count(pfnwatch_kernel_info{{release=\"{REGRESSED}\"}})");
    wait("the rollout's end", patience, || there(&query, fleet.regressed()).then_some(()));
    wait("the host that is gone", patience, || there("count(pfnwatch_kernel_info)", hosts - 1).then_some(()));
    all_is_said(alertmanager, fleet.regressed(), patience);
    if hosts >= LARGE {
        costs(&server, prometheus, hosts, &times);
    }
    fleet_command_agrees(prometheus, hosts, fleet.regressed());
    if hosts == DOCUMENTED {
        walkthrough::agrees(prometheus, alertmanager);
    }
}

/// Within its `for` and two evaluations from when the release was first seen, by Prometheus' own clock: one evaluation
/// for the recording rules, one for the alert. An evaluation that a busy machine skipped does not count.
fn in_time(prometheus: SocketAddr, times: &Times) {
    let first = |series: &str| {
        let query = format!("min(min_over_time(timestamp({series})[30m:1s]))");
        wait(series, TIMEOUT, || value(prometheus, &query))
    };
    let seen = first(&format!("pfnwatch_kernel_info{{release=\"{REGRESSED}\"}}"));
    let firing = first(&format!("ALERTS{{alertname=\"{ALARM}\",alertstate=\"firing\"}}"));
    let metrics = stack::text(prometheus, "/metrics").unwrap();
    let missed: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("prometheus_rule_group_iterations_missed_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .fold(0.0, f64::max);
    let seconds = |number: usize| number.to_string().parse::<f64>().unwrap();
    let limit = seconds(times.alarm) + (2.0 + missed) * seconds(times.evaluate);
    let took = firing - seen;
    println!("the alarm fired {took:.1} s after the release was seen; `for` and two evaluations are {limit:.0} s");
    assert!(took <= limit + 1.0, "{took} s, and {missed} evaluations were missed");
}

/// The alarm has release, hosts and bytes, and there is one.
fn all_is_said(alertmanager: SocketAddr, regressed: usize, patience: Duration) {
    let whole = format!("{regressed} hosts run Linux {REGRESSED}");
    let said = wait("an alarm that names all hosts", patience, || {
        let all = alarms(alertmanager, ALARM);
        assert_eq!(all.len(), 1, "{all:#?}");
        let text = all[0]["annotations"]["description"].as_str().unwrap_or_default().to_owned();
        Some(text).filter(|text| text.starts_with(&whole))
    });
    let kept = alarms(alertmanager, "PfnwatchKernelDoesNotReturnMemmap");
    let releases: Vec<_> = kept.iter().map(|it| &it["labels"]["release"]).collect();
    assert_eq!(releases, [NOT_RETURNING]);
    assert!(said.contains("loses 16GiB for each TiB") && said.contains("they have lost "), "{said}");
}

fn fleet_command_agrees(prometheus: SocketAddr, hosts: usize, regressed: usize) {
    let url = format!("http://{prometheus}");
    let ask = || {
        let others = slowdown();
        let begun = Instant::now();
        let question = ["fleet", "--prometheus", &url, "--format", "json", "--timeout", "5m"];
        let output = Command::new(pfnwatch()).args(question).output().unwrap();
        (begun.elapsed(), others, output)
    };
    let (took, others, output) = (0..3).map(|_| ask()).min_by_key(|(took, _, _)| *took).unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    println!(
        "pfnwatch fleet: {} hosts in {:.2} s, on a machine that others make {others:.1} times slower",
        report["totals"]["hosts"],
        took.as_secs_f64()
    );
    assert!(took <= BUDGET.mul_f64(others), "pfnwatch fleet took {took:?}");
    assert_eq!((&report["totals"]["hosts"], output.status.code()), (&json!(hosts - 1), Some(1)));
    assert_eq!(report["not_counted"]["first"][0]["where"], "host42");
    let worst = &report["releases"][0];
    assert_eq!((&worst["kernel"], &worst["extra_bytes_per_tib"]), (&json!(REGRESSED), &json!(16_u64 << 30)));
    assert_eq!(worst["hosts"], regressed);
    let lossy: Vec<_> =
        report["releases"].as_array().unwrap().iter().filter(|it| it["memmap_returned"] == false).collect();
    assert!(matches!(lossy.as_slice(), [one] if one["kernel"] == NOT_RETURNING), "{lossy:#?}");
    let releases: BTreeSet<_> =
        report["releases"].as_array().unwrap().iter().map(|it| it["kernel"].to_string()).collect();
    assert_eq!(releases.len(), 5, "{releases:?}");
}

/// The release build, if `cargo xtask fleet-sim` has built it.
fn pfnwatch() -> PathBuf {
    env::var_os("PFNWATCH_RELEASED").map_or_else(|| env!("CARGO_BIN_EXE_pfnwatch").into(), PathBuf::from)
}

/// The ratio of elapsed to processor time at present: other load on the machine must not fail the test.
fn slowdown() -> f64 {
    let clock = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let (begun, from) = (Instant::now(), clock());
    while clock() - from < Duration::from_millis(100) {}
    begun.elapsed().as_secs_f64() / (clock() - from).as_secs_f64()
}

fn costs(server: &Program, prometheus: SocketAddr, hosts: usize, times: &Times) {
    let hosts: f64 = hosts.to_string().parse().unwrap();
    let number = |query: &str| value(prometheus, query).unwrap_or_default();
    let samples = number("avg(scrape_samples_scraped{job=\"pfnwatch\"})");
    let page = stack::text(prometheus, "/metrics").unwrap();
    let own = |name: &str| {
        page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap_or_default()
    };
    let (resident, head) = (own("process_resident_memory_bytes "), own("prometheus_tsdb_head_series "));
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    println!(
        "a scrape: {samples:.0} samples; {:.0} series a host, with those of the scrape and the rules",
        head / hosts
    );
    println!(
        "Prometheus: {head} series in its head, {:.0} samples a second",
        (samples + 5.0) * hosts / seconds(times.scrape)
    );
    println!(
        "Prometheus: {:.0} MiB resident, {:.0} MiB at most, {:.0} bytes a series; {:.0} s of processor time",
        mib(resident),
        mib(server.peak_bytes().to_string().parse().unwrap()),
        resident / head,
        own("process_cpu_seconds_total ")
    );
    println!("on disk: {:.2} bytes a sample", history::bytes_per_sample());
}

fn seconds(number: usize) -> f64 {
    number.to_string().parse().unwrap()
}
