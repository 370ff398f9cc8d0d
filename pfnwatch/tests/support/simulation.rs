//! A simulated fleet: one server answers for thousands of hosts, with real agents' code over made-up hosts.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pfnwatch::export::metrics::{of_view, render};
use pfnwatch::model::memmap_return::{MemmapEvidence, MemmapVerdict};
use pfnwatch::model::policy::Mode;
use pfnwatch::model::view::View;

use super::view;

pub(crate) const REGRESSED: &str = "6.1.9";
/// What the rest of the fleet runs, and before the rollout the regressed hosts too.
const SOUND: [&str; 4] = ["6.0.12", "6.1.38", "6.12.5", NOT_RETURNING];
/// It does not return the DRAM of memmaps.
pub(crate) const NOT_RETURNING: &str = "6.18.15";
const HOST_STEP: usize = 25;
/// This host does not come up again after the rollout.
const GONE: usize = 42;
const SERVERS: usize = 8;

pub(crate) struct Simulation {
    pub(crate) address: SocketAddr,
    hosts: usize,
    rolled_out: Arc<AtomicBool>,
}

impl Simulation {
    pub(crate) fn start(hosts: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let rolled_out = Arc::new(AtomicBool::new(false));
        let pages: Arc<Vec<String>> = Arc::new(SOUND.iter().map(|release| page(view::healthy(), release)).collect());
        let regressed = Arc::new(page(view_of_regressed(), REGRESSED));
        for _ in 0..SERVERS {
            let (listener, pages, regressed) = (listener.try_clone().unwrap(), pages.clone(), regressed.clone());
            let rolled_out = rolled_out.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let _ = answer(stream, |host| match (host, rolled_out.load(Ordering::Acquire)) {
                        (GONE, true) => None,
                        (host, true) if is_regressed(host) => Some(&*regressed),
                        (host, _) => Some(&pages[host % SOUND.len()]),
                    });
                }
            });
        }
        Self { address, hosts, rolled_out }
    }

    pub(crate) fn roll_out(&self) {
        self.rolled_out.store(true, Ordering::Release);
    }

    pub(crate) fn regressed(&self) -> usize {
        (0..self.hosts).filter(|host| is_regressed(*host)).count()
    }

    pub(crate) fn targets(&self) -> String {
        let host = |number| {
            format!(
                "{{targets: ['{}'], labels: {{instance: host{number}, cluster: {}, __metrics_path__: /{number}}}}}",
                self.address,
                cluster(number)
            )
        };
        (0..self.hosts).map(host).collect::<Vec<_>>().join(",\n  ")
    }
}

pub(crate) const fn cluster(host: usize) -> &'static str {
    ["east", "north", "west"][host % 3]
}

const fn is_regressed(host: usize) -> bool {
    host % HOST_STEP == 7
}

/// In audit mode, the guard allowed three namespaces that it would have denied.
fn view_of_regressed() -> View {
    let mut view = view::oversize();
    view.status.mode.mode = Mode::Audit;
    view.status.counters.insert("would_deny".to_owned(), 4);
    view
}

fn page(mut view: View, release: &str) -> String {
    let memmaps = &mut view.status.memmap_return;
    (memmaps.verdict, memmaps.lost_bytes) = if release == NOT_RETURNING {
        (MemmapVerdict::NotReturned, [(MemmapEvidence::Code, 16 << 20)].into())
    } else {
        (MemmapVerdict::Returned, [].into())
    };
    view.status.agent.kernel = release.to_owned();
    render(&of_view(&view))
}

/// Parses `GET /17 HTTP/1.1`, and ignores the rest.
fn answer<'a>(stream: TcpStream, page: impl FnOnce(usize) -> Option<&'a String>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::from(" ");
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let host = first.split_whitespace().nth(1).and_then(|path| path.trim_start_matches('/').parse().ok());
    let Some(body) = page(host.unwrap_or(0)) else { return Ok(()) };
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body.as_bytes())
}
