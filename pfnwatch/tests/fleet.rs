//! The proof at scale: thousands of made-up hosts, one real Prometheus, one real Alertmanager. `cargo xtask fleet-sim` fetches the
//! two and runs this.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::print_stdout, reason = "the same")]

#[path = "support/simulation.rs"]
mod simulation;
#[path = "support/tree.rs"]
mod tree;
#[path = "support/view.rs"]
mod view;

use std::{
    env, fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use pfnwatch::fleet::{
    Fleet,
    prometheus::{self, Client},
};
use serde_json::Value;
use simulation::{REGRESSED, Simulation};

const ALARM: &str = "PfnwatchKernelCostsMore";
/// Beyond what the rules themselves ask for: a loaded machine scrapes and evaluates late.
const PATIENCE: Duration = Duration::from_secs(120);

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wanted(name: &str) -> PathBuf {
    env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: `cargo xtask fleet-sim` runs this")).into()
}

fn number(name: &str, default: usize) -> usize {
    env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(program: &Path, arguments: &[String]) -> Program {
    Program(Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn get(address: SocketAddr, path: &str) -> Option<Value> {
    let agent = ureq::Agent::from(ureq::Agent::config_builder().proxy(None).build());
    let text = agent.get(format!("http://{address}{path}")).call().ok()?.body_mut().read_to_string().ok()?;
    serde_json::from_str(&text).ok()
}

fn wait<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: not within {} s", limit.as_secs());
        thread::sleep(Duration::from_millis(100));
    }
}

fn alertmanager(folder: &Path) -> (Program, SocketAddr) {
    let (config, address) = (folder.join("alertmanager.yml"), free());
    fs::write(&config, "route: { receiver: nobody }\nreceivers: [ { name: nobody } ]\n").unwrap();
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.path={}", folder.join("alerts").display()),
        format!("--web.listen-address={address}"),
        "--cluster.listen-address=".to_owned(),
    ];
    let program = start(&wanted("PFNWATCH_ALERTMANAGER"), &arguments);
    wait("Alertmanager", PATIENCE, || get(address, "/api/v2/status").map(drop));
    (program, address)
}

/// With the rules that ship, but for how long their alarms wait.
fn prometheus(folder: &Path, fleet: &Simulation, times: &Times, alertmanager: SocketAddr) -> (Program, SocketAddr) {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/prometheus");
    let alerting = fs::read_to_string(rules.join("alerting.rules.yml")).unwrap();
    let shorter = folder.join("alerting.rules.yml");
    fs::write(&shorter, alerting.replace("for: 10m", &format!("for: {}s", times.wait_s))).unwrap();
    let config = folder.join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: {}s, scrape_timeout: {}s, evaluation_interval: {}s}}\n\
         rule_files: ['{}', '{}']\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n\
         scrape_configs: [{{job_name: pfnwatch, static_configs: [\n  {}]}}]\n",
        times.scrape_s,
        times.scrape_s,
        times.evaluate_s,
        rules.join("recording.rules.yml").display(),
        shorter.display(),
        fleet.targets(),
    );
    fs::write(&config, text).unwrap();
    let address = free();
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        format!("--web.listen-address={address}"),
    ];
    (start(&wanted("PFNWATCH_PROMETHEUS").join("prometheus"), &arguments), address)
}

struct Times {
    scrape_s: usize,
    evaluate_s: usize,
    wait_s: usize,
}

fn value(prometheus: SocketAddr, query: &str) -> Option<f64> {
    let found = get(prometheus, &format!("/api/v1/query?query={query}"))?;
    found.pointer("/data/result/0/value/1")?.as_str()?.parse().ok()
}

/// The releases for which the rollout alarm stands.
fn alarms(alertmanager: SocketAddr) -> Vec<Value> {
    let all = get(alertmanager, "/api/v2/alerts").unwrap_or_default();
    let ours = all.as_array().into_iter().flatten().filter(|it| it["labels"]["alertname"] == ALARM);
    ours.cloned().collect()
}

fn resident_mib(program: &Program) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", program.0.id())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
#[ignore = "needs Prometheus and Alertmanager: `cargo xtask fleet-sim` runs it"]
fn the_rollout_alarm_fires_for_the_regressed_release_alone() {
    let hosts = number("PFNWATCH_FLEET_HOSTS", 200);
    let scrape_s = (hosts / 200).clamp(1, 30);
    let times = Times { scrape_s, evaluate_s: scrape_s, wait_s: 2 * scrape_s };
    let folder = tempfile::tempdir().unwrap();
    let fleet = Simulation::start(hosts);
    let (_alerts, alertmanager) = alertmanager(folder.path());
    let (server, prometheus) = prometheus(folder.path(), &fleet, &times, alertmanager);
    let count = hosts.to_string().parse().ok();
    wait("all hosts", PATIENCE, || (value(prometheus, "count(pfnwatch_build_info)") == count).then_some(()));
    assert!(alarms(alertmanager).is_empty(), "an alarm before the rollout");

    fleet.roll_out();
    let begun = Instant::now();
    let limit = times.scrape_s + times.wait_s + 2 * times.evaluate_s;
    let fired = wait("the alarm", PATIENCE, || alarms(alertmanager).pop());
    println!(
        "{hosts} hosts, scraped each {} s: the alarm came {:.1} s after the rollout (a scrape, its `for` and two evaluations are {limit} s)",
        times.scrape_s,
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(fired["labels"]["release"], REGRESSED);

    let regressed = fleet.regressed();
    let query = format!("count(pfnwatch_kernel_info%7Brelease=%22{REGRESSED}%22%7D)");
    let regressed_value = regressed.to_string().parse().ok();
    wait("the rollout's end", PATIENCE, || (value(prometheus, &query) == regressed_value).then_some(()));
    let words = |alarm: &Value| alarm["annotations"]["description"].as_str().unwrap_or_default().to_owned();
    let whole = format!("{regressed} hosts run Linux {REGRESSED}");
    let said = wait("an alarm that names all hosts", PATIENCE, || {
        let all = alarms(alertmanager);
        assert_eq!(all.len(), 1, "{all:#?}");
        Some(words(&all[0])).filter(|text| text.starts_with(&whole))
    });
    assert!(said.contains("loses 16GiB for each TiB"), "{said}");
    fleet_command_agrees(prometheus, hosts, regressed);
    let series = value(prometheus, "count(%7Bjob=%22pfnwatch%22%7D)").unwrap_or_default();
    let each = series / count.unwrap_or(1.0);
    println!("Prometheus: {} MiB resident, {series} series, {each:.0} a host", resident_mib(&server));
}

/// The recording rules have followed, and so has what `pfnwatch fleet` asks for.
fn fleet_command_agrees(prometheus: SocketAddr, hosts: usize, regressed: usize) {
    let client = Client {
        url: format!("http://{prometheus}"),
        bearer_token_file: None,
        basic_auth_file: None,
        ca_file: None,
        timeout: Duration::from_secs(60),
        at: SystemTime::now(),
    };
    let begun = Instant::now();
    let mut fleet = Fleet::keeping(10);
    prometheus::add(&client, &mut fleet).unwrap();
    println!("pfnwatch fleet: {} hosts in {:.2} s", fleet.totals().hosts, begun.elapsed().as_secs_f64());
    assert_eq!((fleet.totals().hosts, fleet.uncounted().count), (u64::try_from(hosts).unwrap(), 0));
    let worst = fleet.releases().swap_remove(0);
    assert_eq!((worst.kernel.as_str(), worst.extra_bytes_per_tib), (REGRESSED, Some(16 << 30)));
    assert_eq!(worst.hosts, u64::try_from(regressed).unwrap());
}
