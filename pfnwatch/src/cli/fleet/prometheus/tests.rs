//! Prometheus as it should not be; `cargo xtask fleet-sim` and `cargo xtask web` ask a real one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::*;
use crate::cli::fleet::Fleet;

/// A free address of this host, and its URL.
fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn client(reply: impl Fn(&str) -> String + Send + 'static) -> Client {
    let (listener, url) = listener();
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(stream, &reply)));
    Client {
        url,
        bearer_token_file: None,
        basic_auth_file: None,
        ca_file: None,
        timeout: Duration::from_secs(5),
        at: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    }
}

fn answer(stream: TcpStream, reply: &impl Fn(&str) -> String) {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some(number) = line.to_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = reply(&String::from_utf8(body).unwrap());
    // A whole answer with a head of its own, or the body of a good one.
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let whole = if body.starts_with("HTTP/") { body } else { head + &body };
    let _ = reader.into_inner().write_all(whole.as_bytes());
}

fn series(labels: &Value, value: &str) -> Value {
    json!({ "metric": labels, "value": [1_700_000_000.0, value] })
}

fn vector(series: &[Value]) -> String {
    json!({ "status": "success", "data": { "resultType": "vector", "result": series } }).to_string()
}

fn agent(instance: &str) -> Value {
    json!({ "job": "p", "instance": instance, "cluster": "east", "version": "0.0.9" })
}

fn fleet_of(values: &'static [(&'static str, [Option<&'static str>; 2])]) -> Fleet {
    let reply = move |question: &str| {
        let values = values.iter().find(|(word, _)| question.contains(word));
        let usual = if question.contains("unless") { [None; 2] } else { [Some("1"); 2] };
        let [a, b] = values.map_or(usual, |(_, values)| *values);
        let all = [("a", a), ("b", b)].into_iter().filter_map(|(host, value)| Some(series(&agent(host), value?)));
        vector(&all.collect::<Vec<_>>())
    };
    let mut fleet = Fleet::keeping(10);
    add(&client(reply), &mut fleet).unwrap();
    fleet
}

#[test]
fn hosts_are_put_together_from_their_series() {
    let fleet = fleet_of(&[("host_excess_bytes", [Some("1.7179869184e+10"), Some("0")])]);
    assert_eq!((fleet.totals().hosts, fleet.totals().sums.excess_bytes), (2, 16 << 30));
    let worst = fleet.worst();
    assert_eq!((worst.len(), worst[0].host.as_str(), worst[0].cluster.as_deref()), (1, "a", Some("east")));
    assert_eq!(fleet.uncounted().count, 0);
}

#[test]
fn a_host_that_does_not_tell_all_is_not_counted_and_is_named() {
    for (values, why) in [
        (&[("host_excess_bytes", [Some("NaN"), Some("5")])], "its pfnwatch_host_excess_bytes is not a valid number"),
        (&[("host_excess_bytes", [Some("-1"), Some("5")])], "its pfnwatch_host_excess_bytes is not a valid number"),
        (&[("host_excess_bytes", [None, Some("5")])], "it reports no pfnwatch_host_excess_bytes: its pfnwatch 0.0.9"),
    ] {
        let fleet = fleet_of(values);
        assert_eq!((fleet.totals().hosts, fleet.totals().sums.excess_bytes), (1, 5));
        let problem = &fleet.uncounted().first[0];
        assert!(problem.place == "a" && problem.problem.starts_with(why), "{problem:?}");
    }
    let fleet = fleet_of(&[("max_struct_page_size", [Some("+Inf"), Some("64")])]);
    assert_eq!((fleet.totals().hosts, fleet.uncounted().count), (1, 1), "what may be missing may not be nonsense");
}

#[test]
fn an_agent_that_is_gone_is_named_and_so_is_one_that_is_not_scraped_any_more() {
    let gone = fleet_of(&[("unless", [Some("1"), Some("1")]), ("query=up+", [Some("0"), None])]);
    let said: Vec<_> = gone.uncounted().first.iter().map(|it| (it.place.as_str(), it.problem.as_str())).collect();
    let [(a, first), (b, second)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((*a, *b), ("a", "b"));
    assert!(first.contains("does not reach it") && second.contains("does not scrape it any more"), "{said:?}");
}

#[test]
fn namespaces_that_are_not_told_one_by_one_make_the_plan_short() {
    let fleet =
        fleet_of(&[("namespace_oversize%29%29", [None, Some("1")]), ("host_namespaces", [Some("4"), Some("1")])]);
    assert_eq!(fleet.totals().sums.namespaces, 5);
    let warning = &fleet.warnings().first[0];
    assert!(warning.starts_with("1 host, a among them: not all namespaces are reported one by one"), "{warning}");
}

/// A textfile of `scan --format prom` has the same metrics, from another instance.
#[test]
fn a_host_without_an_agent_is_named() {
    let fleet = fleet_of(&[("query=pfnwatch_build_info&", [None, Some("1")])]);
    assert_eq!((fleet.totals().hosts, fleet.uncounted().count), (1, 1));
    assert!(fleet.uncounted().first[0].problem.contains("has no agent"), "{:?}", fleet.uncounted());
}

#[test]
fn hosts_that_are_there_twice_count_once() {
    let twice = |question: &str| {
        let mut replicas = ["x", "y"].map(|replica| {
            let mut labels = agent("a");
            labels["replica"] = json!(replica);
            series(&labels, "7")
        });
        if question.contains("unless") { vector(&[]) } else { vector(replicas.as_mut_slice()) }
    };
    let mut fleet = Fleet::keeping(1);
    add(&client(twice), &mut fleet).unwrap();
    assert_eq!((fleet.totals().hosts, fleet.totals().sums.excess_bytes, fleet.warnings().count), (1, 7, 1));
}

/// Thanos and Mimir send partial answers, with a warning.
fn partial(warnings: &'static [&'static str]) -> Client {
    client(move |_| {
        let mut reply: Value = serde_json::from_str(&vector(&[])).unwrap();
        reply["warnings"] = json!(warnings);
        reply.to_string()
    })
}

#[test]
fn a_part_that_is_missing_is_passed_on() {
    let mut fleet = Fleet::keeping(1);
    add(&partial(&["store 3 did not answer"]), &mut fleet).unwrap();
    assert_eq!(fleet.warnings().first, ["store 3 did not answer"]);
}

#[test]
fn readiness_has_its_reasons() {
    let reply = |question: &str| {
        let of = |hosts: &[(&str, &str)]| {
            vector(&hosts.iter().map(|(host, value)| series(&agent(host), value)).collect::<Vec<_>>())
        };
        let all = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")];
        let answers = [
            ("unless", of(&[("e", "1")])),
            ("would_deny", of(&[("b", "0.4")])),
            ("min_over_time", of(&[("a", "1"), ("b", "1"), ("d", "1")])),
            ("offset", of(&[("a", "1"), ("b", "1"), ("d", "1")])),
            ("avg_over_time", of(&[("a", "95.2"), ("b", "100"), ("c", "100"), ("d", "61.7")])),
            ("enforce%22", of(&[("a", "1")])),
        ];
        let answer = answers.into_iter().find(|(word, _)| question.contains(word));
        answer.map_or_else(|| of(&all), |(_, answer)| answer)
    };
    let (hosts, warnings) = readiness(&client(reply), 14).unwrap();
    assert!(warnings.is_empty());
    let [a, b, c, d, e] = hosts.as_slice() else { panic!("{hosts:?}") };
    assert!(a.ready && a.enforces && !b.enforces);
    assert_eq!(b.reasons, [Reason::WouldDeny { creations: 1 }]);
    assert_eq!(c.reasons, [Reason::NotJudging, Reason::NotWatchedLongEnough]);
    assert_eq!(d.reasons, [Reason::SeldomReached { reached_percent: 62 }]);
    assert_eq!((e.host.as_str(), e.reasons.as_slice()), ("e", [Reason::Gone].as_slice()));
}

fn error_of(reply: impl Into<String>) -> String {
    let reply = reply.into();
    let error = add(&client(move |_| reply.clone()), &mut Fleet::keeping(1)).unwrap_err();
    format!("{error:#}")
}

fn status(line: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {line}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[test]
fn what_is_no_prometheus_is_said() {
    assert!(
        error_of("<html>hello</html>")
            .contains("not a complete answer of Prometheus' query API; it begins with: <html>")
    );
    assert!(error_of(r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#).contains("matrix"));
    assert!(error_of(r#"{"status":"success"}"#).contains("there is no data in it"));
    let word = vector(&[series(&agent("a"), "many")]);
    assert!(error_of(word).contains("`many` is not a number"));
    // What a terminal would take for a command is not passed on.
    assert!(!error_of("\u{1b}]0;taken\u{7}").contains('\u{1b}'));
}

#[test]
fn what_a_proxy_or_prometheus_refuses_is_said_with_a_remedy() {
    let moved = status("302 Found", "location: https://login.example/\r\n", "<html>log in</html>");
    assert!(error_of(moved).contains("302 Found: it redirects to https://login.example/, which is not followed"));
    assert!(
        error_of(status("307 Temporary Redirect", "", "")).contains("which is not followed: name the URL that answers")
    );
    assert!(
        error_of(status("401 Unauthorized", "", "Unauthorized"))
            .contains("is --bearer-token-file or --basic-auth-file right?")
    );
    assert!(error_of(status("404 Not Found", "", "<html>")).contains("the URL is the part before /api/v1"));
    let many = r#"{"status":"error","errorType":"execution","error":"query processing would load too many samples"}"#;
    assert!(error_of(status("422 Unprocessable Entity", "", many)).contains("would load too many samples"));
    assert!(error_of(many).contains("would load too many samples"));
    let html = error_of(status("502 Bad Gateway", "", "<html>nginx</html>"));
    assert!(html.contains("502 Bad Gateway") && html.contains("<html>nginx"), "{html}");
    assert!(error_of(status("503 Service Unavailable", "", "Service Unavailable")).contains("503"));
    let all_the_same = error_of(status("500 Internal Server Error", "", &vector(&[])));
    assert!(all_the_same.contains("500 Internal Server Error: and sent data nevertheless"), "{all_the_same}");
}

#[test]
fn an_answer_that_breaks_off_is_none() {
    let whole = vector(&[series(&agent("a"), "1")]);
    let half = &whole[..whole.len() / 2];
    let promised = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{half}", whole.len());
    assert!(error_of(promised).contains("its answer broke off"));
    let chunk = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{:x}\r\n{half}",
        whole.len()
    );
    assert!(error_of(chunk).contains("its answer broke off"));
    // Without a length, the end of the connection is the end of the answer.
    let open = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{half}");
    assert!(error_of(open).contains("not a complete answer"));
    assert!(error_of("HTTP/1.1 200 OK\r\n").contains("Prometheus was asked for"));
}

#[test]
fn a_prometheus_that_takes_too_long_is_left_alone() {
    // Connected to, and never answered.
    let (_listener, url) = listener();
    let silent = Client { timeout: Duration::from_millis(100), url, ..client(|_| String::new()) };
    let error = silent.query("up").unwrap_err();
    assert!(format!("{error:#}").contains("no answer within 100ms"), "{error:#}");

    let (listener, url) = listener();
    thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"status\":");
        thread::sleep(Duration::from_secs(60));
    });
    let stuck = Client { timeout: Duration::from_millis(300), url, ..client(|_| String::new()) };
    let error = stuck.query("up").unwrap_err();
    assert!(format!("{error:#}").contains("no answer within 300ms"), "{error:#}");
}

#[test]
fn warnings_are_told_once_each() {
    let partial = partial(&["store 3 did not answer", "store 4 did not answer"]);
    let mut fleet = Fleet::keeping(1);
    add(&partial, &mut fleet).unwrap();
    assert_eq!(fleet.warnings().count, 2);
    let (hosts, warnings) = readiness(&partial, 14).unwrap();
    assert_eq!((hosts.len(), warnings.len()), (0, 2));
}
