//! Answers that are none, not whole, or too late.

use super::*;

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
        error_of("<html>hello</html>").contains("no whole answer of Prometheus' query API, which begins with: <html>")
    );
    assert!(error_of(r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#).contains("matrix"));
    assert!(error_of(r#"{"status":"success"}"#).contains("there is no data in it"));
    let word = vector(&[series(&agent("a"), "many")]);
    assert!(error_of(word).contains("`many` is no number"));
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
    assert!(error_of(status("404 Not Found", "", "<html>")).contains("the URL is what stands before /api/v1"));
    let many = r#"{"status":"error","errorType":"execution","error":"query processing would load too many samples"}"#;
    assert!(error_of(status("422 Unprocessable Entity", "", many)).contains("would load too many samples"));
    assert!(error_of(many).contains("would load too many samples"));
    let html = error_of(status("502 Bad Gateway", "", "<html>nginx</html>"));
    assert!(html.contains("502 Bad Gateway") && html.contains("<html>nginx"), "{html}");
    assert!(error_of(status("503 Service Unavailable", "", "Service Unavailable")).contains("503"));
    let all_the_same = error_of(status("500 Internal Server Error", "", &vector(&[])));
    assert!(all_the_same.contains("500 Internal Server Error: and sent data all the same"), "{all_the_same}");
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
    assert!(error_of(open).contains("no whole answer"));
    assert!(error_of("HTTP/1.1 200 OK\r\n").contains("Prometheus was asked for"));
}

#[test]
fn a_prometheus_that_takes_too_long_is_left_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Connected to, and never answered.
    let silent = Client { timeout: Duration::from_millis(100), url, ..client(|_| String::new()) };
    let error = silent.query("up").unwrap_err();
    assert!(format!("{error:#}").contains("no answer within 100ms"), "{error:#}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"status\":");
        thread::sleep(Duration::from_secs(60));
    });
    let stuck = Client { timeout: Duration::from_millis(300), url, ..client(|_| String::new()) };
    let error = stuck.query("up").unwrap_err();
    assert!(format!("{error:#}").contains("no answer within 300ms"), "{error:#}");
}

/// Thanos and Mimir send partial answers, with a warning.
#[test]
fn warnings_are_told_once_each() {
    let partial = |_: &str| {
        let mut reply: Value = serde_json::from_str(&vector(&[])).unwrap();
        reply["warnings"] = json!(["store 3 did not answer", "store 4 did not answer"]);
        reply.to_string()
    };
    let mut fleet = Fleet::keeping(1);
    add(&client(partial), &mut fleet).unwrap();
    assert_eq!(fleet.warnings().count, 2);
    let (hosts, warnings) = readiness(&client(partial), 14).unwrap();
    assert_eq!((hosts.len(), warnings.len()), (0, 2));
}
