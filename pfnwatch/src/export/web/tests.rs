use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::server::{Limits, MAX_CONNECTIONS};
use super::*;
use crate::model::alert::DeliveryStats;
use crate::model::view::View;
use crate::model::web_config::WebConfig;
use crate::testing::view::{blind, healthy, hostile, idle, oversize};

const TIMEOUT: Duration = Duration::from_secs(10);
const SHORT_TIMEOUTS: Limits = Limits { head: Duration::from_millis(300), whole: Duration::from_millis(900) };

struct Served {
    address: String,
    views: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn anywhere() -> WebConfig {
    WebConfig { listen: "127.0.0.1:0".parse().unwrap(), ..WebConfig::default() }
}

fn serve(view: fn() -> View) -> Served {
    let mut web = Web::new(anywhere()).within(SHORT_TIMEOUTS);
    web.listen();
    let address = web.status().address.unwrap();
    let views = Arc::new(AtomicUsize::new(0));
    let counted = views.clone();
    let task = tokio::spawn(async move {
        loop {
            let call = web.next().await;
            counted.fetch_add(1, Ordering::SeqCst);
            call.answer(view());
        }
    });
    Served { address, views, task }
}

impl Served {
    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        // One who is refused early may find the way closed.
        let _ = stream.write_all(bytes).await;
        let mut said = Vec::new();
        let _ = timeout(TIMEOUT, stream.read_to_end(&mut said)).await.expect("it closes");
        String::from_utf8_lossy(&said).into_owned()
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address).as_bytes()).await
    }
}

#[tokio::test]
async fn everything_is_served_with_its_headers() {
    let served = serve(healthy);
    let metrics = served.get("/metrics", "").await;
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{metrics}");
    assert!(metrics.contains("connection: close\r\n") && metrics.contains("\npfnwatch_ready 1\n"), "{metrics}");
    let asked = served.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n").await;
    assert!(asked.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{asked}");
    let page = served.get("/", "").await;
    assert!(page.contains("text/html") && page.contains("style-src 'sha256-"), "{page}");
    for header in ["x-content-type-options: nosniff", "referrer-policy: no-referrer", "cache-control: no-store"] {
        assert!(page.contains(header), "{page}");
    }
    assert!(served.get("/healthz", "").await.ends_with("the agent's loop answers\n"));
    assert!(served.get("/readyz", "").await.contains("ready: the programs are attached"));
    let head = served.send(b"HEAD /metrics HTTP/1.0\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.0 200 OK") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(served.views.load(Ordering::SeqCst), 1, "all of that within a second is one look");
}

#[tokio::test]
async fn readiness_says_why() {
    assert!(serve(idle).get("/readyz", "").await.contains("ready, and idle: libnvdimm is not loaded"));
    let blind = serve(blind).get("/readyz", "").await;
    assert!(blind.starts_with("HTTP/1.1 503") && blind.contains("not ready: the kernel refuses to load"), "{blind}");
}

#[tokio::test]
async fn what_is_no_request_for_us_is_refused() {
    let served = serve(healthy);
    let own = format!("Host: {}\r\n", served.address);
    let long = "x".repeat(64 << 10);
    let many: String = (0..200).map(|number| format!("h{number}: x\r\n")).collect();
    for (request, status) in [
        (format!("POST /metrics HTTP/1.1\r\n{own}\r\n"), "405"),
        (format!("DELETE / HTTP/1.1\r\n{own}\r\n"), "405"),
        (format!("GET /etc/passwd HTTP/1.1\r\n{own}\r\n"), "404"),
        (format!("GET /metrics/../../etc HTTP/1.1\r\n{own}\r\n"), "404"),
        (format!("GET / HTTP/1.1\r\n{own}Content-Length: 5\r\n\r\nhello"), "413"),
        (format!("GET / HTTP/1.1\r\n{own}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "413"),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), "421"),
        (format!("GET http://evil.example/ HTTP/1.1\r\n{own}\r\n"), "421"),
        (format!("GET / HTTP/1.1\r\n{own}Host: evil.example\r\n\r\n"), "400"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "400"),
        ("rubbish\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\n{own}X: {long}\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\n{own}{many}\r\n"), "431"),
    ] {
        let said = served.send(request.as_bytes()).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{}: {said}", request.get(..60).unwrap_or(&request));
    }
    assert_eq!(served.views.load(Ordering::SeqCst), 0, "none of them costs a look");
}

#[tokio::test]
async fn one_connection_is_one_request() {
    let served = serve(healthy);
    let one = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: keep-alive\r\n\r\n", served.address);
    let said = served.send(format!("{one}{one}\x00\x01rubbish{one}").as_bytes()).await;
    assert_eq!(said.matches("HTTP/1.1 200").count(), 1, "{said}");
}

#[tokio::test]
async fn the_slow_are_sent_away_and_the_rest_is_served() {
    let served = serve(healthy);
    let begin = Instant::now();
    let mut slow = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(&served.address).await.unwrap();
        stream.write_all(b"GET / HTT").await.unwrap();
        slow.push(stream);
    }
    sleep(Duration::from_millis(50)).await;
    let busy = served.get("/healthz", "").await;
    assert!(busy.is_empty() || busy.starts_with("HTTP/1.1 503"), "{busy}");
    // Each gets an answer, or is closed, once its time is over.
    for mut stream in slow {
        let mut said = Vec::new();
        let _ = timeout(TIMEOUT, stream.read_to_end(&mut said)).await.expect("it closes");
    }
    assert!(begin.elapsed() < SHORT_TIMEOUTS.whole * 3, "{:?}", begin.elapsed());
    assert!(served.get("/healthz", "").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn one_who_does_not_read_is_cut_off() {
    fn crowd() -> View {
        View { scan: Ok(crate::testing::view::scan(|tree| tree.crowd(1000))), ..healthy() }
    }
    let served = serve(crowd);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(served.address.parse().unwrap()).await.unwrap();
    stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", served.address).as_bytes()).await.unwrap();
    sleep(SHORT_TIMEOUTS.whole * 2).await;
    let mut said = Vec::new();
    let _ = timeout(TIMEOUT, stream.read_to_end(&mut said)).await.expect("it closes");
    assert!(served.get("/metrics", "").await.len() > said.len(), "it was cut off");
}

#[tokio::test]
async fn a_loop_that_does_not_answer_is_no_health() {
    let mut web = Web::new(anywhere());
    web.listen();
    let served = Served {
        address: web.status().address.unwrap(),
        views: Arc::default(),
        task: tokio::spawn(async move {
            loop {
                drop(web.next().await);
            }
        }),
    };
    let said = served.get("/healthz", "").await;
    assert!(said.starts_with("HTTP/1.1 503") && said.contains("does not answer"), "{said}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_tried_again() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let mut web = Web::new(WebConfig { listen, ..WebConfig::default() });
    web.listen();
    let status = web.status();
    assert!(status.address.is_none() && status.problem.is_some_and(|problem| problem.contains(&listen.to_string())));
    drop(taken);
    web.listen();
    assert_eq!((web.status().address, web.status().problem), (Some(listen.to_string()), None));
    web.on_tick();
    assert!(web.status().address.is_some());
    web.reload(&WebConfig { enabled: false, ..WebConfig::default() });
    assert_eq!(web.status(), crate::model::status::WebStatus::default());
    // What listened ends with its task, which runs next.
    tokio::task::yield_now().await;
    assert!(TcpStream::connect(listen).await.is_err());
}

#[test]
fn the_page_says_what_is_wrong_and_what_to_do() {
    let says = |view: View, words: &[&str]| {
        let page = page::render(&view);
        for word in words {
            assert!(page.contains(word), "{word}: {page}");
        }
        page
    };
    let page = says(healthy(), &["Nothing is reserved too much.", "armed, and seen to work", "12 events, 64 KiB"]);
    assert!(!page.contains("role=\"alert\"") && !page.contains("What to do"), "{page}");
    says(
        oversize(),
        &["sudo pfnwatch plan namespace0.0", "256 MiB", "DENIED", "aria-label=\"memmap 258 MiB, excess 256 MiB"],
    );
    says(
        blind(),
        &[
            "Blind.",
            "17 records were lost",
            "Enforcement is not effective.",
            "The event store cannot be written.",
            "Alerts are not delivered.",
            "An exemption is not in force.",
            "Capacity regressed.",
            "no function nd_uuid_store",
        ],
    );
    let refused = DeliveryStats { receiver: "hook".into(), given_up: 3, ..DeliveryStats::default() };
    let given_up = View { alerts: vec![refused], ..healthy() };
    let page = says(given_up, &["Alerts were given up.", "hook: 3 messages that were dropped", "role=\"alert\""]);
    assert!(!page.contains("Alerts are not delivered."), "{page}");
    says(idle(), &["Idle.", "No namespaces."]);
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let page = page::render(&hostile());
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
    let quotes = page.split('"').skip(1).step_by(2).any(|value| value.contains('<'));
    assert!(!quotes, "an attribute was closed too early");
}
