//! The web server under the real programs that people use: Chromium, Prometheus, promtool. `cargo xtask web` fetches them and
//! runs these tests.
#![allow(clippy::unwrap_used, reason = "clippy knows tests by #[test] alone, and not what they call")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "the same")]

#[path = "support/browser.rs"]
mod browser;
#[path = "support/dashboards.rs"]
mod dashboards;
#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "support/rules.rs"]
mod rules;
#[path = "support/served.rs"]
mod served;
#[path = "support/stack.rs"]
mod stack;
#[path = "support/tree.rs"]
mod tree;
#[path = "support/view.rs"]
mod view;

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use browser::{Browser, Scheme};
use pfnwatch::cli::fleet::prometheus::{Client, Reason, readiness};
use pfnwatch::cli::fleet::{self, Fleet};
use pfnwatch::model::view::View;
use served::Served;
use stack::{TIMEOUT, tool, wait, wanted};

type Page = (&'static str, fn() -> View);

const PAGES: [Page; 5] = [
    ("healthy", view::healthy),
    ("oversize", view::oversize),
    ("blind", view::blind),
    ("idle", view::idle),
    ("hostile", view::hostile),
];

const WIDTHS: [u32; 2] = [360, 1280];

/// Flaws of the page: each is a sentence that names the element. Run by the browser's own debugger, so that the page's
/// policy against scripts does not block it.
const FLAWS: &str = include_str!("support/flaws.js");

#[test]
#[ignore = "needs Chromium: `cargo xtask web` runs it"]
fn the_page_is_good_in_a_real_browser() {
    let shots = wanted("PFNWATCH_SCREENSHOTS");
    fs::create_dir_all(&shots).unwrap();
    let mut browser = Browser::start(&wanted("PFNWATCH_CHROMIUM"));
    for (name, view) in PAGES {
        let served = Served::start(view);
        for width in WIDTHS {
            for scheme in [Scheme::Light, Scheme::Dark] {
                let place = format!("{name}-{width}-{}", scheme.name());
                browser.show(width, scheme);
                browser.open(&format!("http://{}/", served.address));
                let flaws = browser.evaluate(FLAWS);
                assert_eq!(flaws.as_array().map(Vec::len), Some(0), "{place}: {flaws:#}");
                fs::write(shots.join(format!("{place}.png")), browser.screenshot()).unwrap();
            }
        }
    }
    let said = browser.console();
    assert!(said.is_empty(), "the browser complains: {said:#?}");
}

#[test]
#[ignore = "needs promtool: `cargo xtask web` runs it"]
fn promtool_finds_nothing_to_complain_of() {
    for (name, view) in PAGES {
        let served = Served::start(view);
        let complaints = prometheus::check(&tool("promtool"), &served.get("/metrics"));
        assert!(complaints.is_empty(), "{name}: {complaints}");
    }
}

#[test]
#[ignore = "needs Prometheus: `cargo xtask web` runs it"]
fn prometheus_scrapes_it() {
    let (folder, served) = (tempfile::tempdir().unwrap(), Served::start(view::oversize));
    let (_program, prometheus) = prometheus::start(folder.path(), &served.address);
    let value = |query: &str| wait(query, TIMEOUT, || stack::result(prometheus, query));
    assert_eq!(value("up"), "1");
    assert_eq!(value("pfnwatch_namespace_excess_bytes{namespace=\"namespace0.0\"}"), "268435456");
    assert_eq!(value("pfnwatch_events_total{event=\"denied\"}"), "3");
    assert_eq!(value("sum(pfnwatch_program_attached)"), "3");
    assert_eq!(value("count(pfnwatch_namespace_verdict == 1)"), "3");
    for (panel, query) in dashboards::queries(&served.address) {
        assert!(!value(&query).is_empty(), "{panel}");
    }
    fleet_is_what_the_agent_tells(prometheus, &served);
}

fn fleet_is_what_the_agent_tells(prometheus: SocketAddr, served: &Served) {
    let client = Client {
        url: format!("http://{prometheus}"),
        bearer_token_file: None,
        basic_auth_file: None,
        ca_file: None,
        timeout: Duration::from_secs(30),
        at: SystemTime::now(),
    };
    let mut fleet = Fleet::keeping(1);
    fleet::prometheus::add(&client, &mut fleet).unwrap();
    assert_eq!((fleet.uncounted().count, fleet.warnings().count), (0, 0), "{fleet:?}");
    let (agent, totals) = (view::oversize(), fleet.totals());
    let told = agent.scan.unwrap().totals;
    assert_eq!(
        (totals.hosts, totals.sums.namespaces, totals.sums.excess_bytes),
        (1, told.namespaces, told.excess_bytes)
    );
    assert_eq!((totals.sums.usable_bytes, totals.sums.reservation_bytes), (told.usable_bytes, told.reservation_bytes));
    assert_eq!((totals.sums.unknown_namespaces, totals.sums.plan_bytes), (told.unknown, 268_435_456));
    assert_eq!((fleet.worst()[0].host.as_str(), fleet.worst()[0].ready), (served.address.as_str(), Some(true)));
    assert_eq!(fleet.releases()[0].max_struct_page_size_bytes, agent.max_struct_page_size);
    let (hosts, _) = readiness(&client, 14).unwrap();
    assert_eq!(hosts.len(), 1);
    assert!(hosts[0].reasons.contains(&Reason::NotWatchedLongEnough), "{hosts:?}");
}

#[test]
fn the_dashboards_panels_have_their_places() {
    assert_eq!(dashboards::misplaced(), Vec::<String>::new());
    assert_eq!(dashboards::malformed(), Vec::<String>::new());
}

#[test]
#[ignore = "needs promtool: `cargo xtask web` runs it"]
fn the_rules_fire_and_stay_silent_as_they_should() {
    let complaints = rules::check(&tool("promtool"));
    assert!(complaints.is_empty(), "{complaints}");
}

#[test]
fn the_rules_ask_for_nothing_that_the_agent_does_not_export() {
    let exported: String = PAGES.iter().map(|(_, view)| Served::start(*view).get("/metrics")).collect();
    let asked = rules::metrics();
    assert!(asked.len() > 15, "{asked:?}");
    let exports = |name: &str| exported.contains(&format!("\n{name}{{")) || exported.contains(&format!("\n{name} "));
    let missing: Vec<_> = asked.into_iter().filter(|name| !exports(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn each_alert_of_the_rules_is_tested_and_has_a_runbook() {
    let missing: Vec<_> = rules::alerts().into_iter().flat_map(rules::missing).collect();
    assert_eq!(missing, Vec::<String>::new());
    assert!(rules::alerts().len() >= 12);
}
