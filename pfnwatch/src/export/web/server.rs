//! The agent's side: the port, and the way of a question to the agent's loop.
//!
//! Connections are taken by a task of their own, not by the agent's loop, so that a flood of them shares the thread with the
//! loop and does not go before it. While nobody connects nothing runs and nothing wakes up.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SndBuf;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::reply;
use super::route::{self, Route};
use super::snapshot_cache::{Snapshot, SnapshotCache, ViewRequest};
use crate::export::metrics::CONTENT_TYPE;
use crate::model::status::WebStatus;
use crate::model::web_config::WebConfig;

/// The limit of simultaneous connections; others get a 503.
pub(super) const MAX_CONNECTIONS: usize = 16;

/// How long to wait after a failed accept, which would fail again at once.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The kernel's buffer for a peer that does not read, in bytes (or twice that): the default takes megabytes.
const SEND_BUFFER: usize = 64 << 10;

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 32\r\n\
    retry-after: 1\r\nconnection: close\r\n\r\ntoo many connections: try again\n";

pub struct Web {
    config: WebConfig,
    limits: Limits,
    listening: Option<Listening>,
    problem: Option<String>,
    send: mpsc::Sender<ViewRequest>,
    calls: mpsc::Receiver<ViewRequest>,
}

/// The accept loop. Dropping it ends all connections.
struct Listening {
    address: SocketAddr,
    snapshots: Arc<SnapshotCache>,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Web {
    /// A server that does not listen yet.
    #[must_use]
    pub fn new(config: WebConfig) -> Self {
        let (send, calls) = mpsc::channel(1);
        Self { config, limits: Limits::default(), listening: None, problem: None, send, calls }
    }

    #[cfg(test)]
    pub(super) fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    pub fn reload(&mut self, config: &WebConfig) {
        if self.config != *config {
            self.config = config.clone();
            self.listening = None;
            self.problem = None;
        }
        self.listen();
    }

    /// Listens, if it should and does not. A failure is logged once, and is not fatal. Must be called within a tokio
    /// runtime.
    pub fn listen(&mut self) {
        if self.listening.is_some() || !self.config.enabled {
            return;
        }
        match self.open() {
            Ok(listening) => {
                tracing::info!("the web server listens on http://{}/", listening.address);
                (self.listening, self.problem) = (Some(listening), None);
            }
            Err(error) => {
                let problem = format!("{}: {error}", self.config.listen);
                if self.problem.as_ref() != Some(&problem) {
                    tracing::warn!(
                        "the web server cannot listen on {problem}; it is tried again every half minute (another address: [web] \
                         listen in the configuration)"
                    );
                }
                self.problem = Some(problem);
            }
        }
    }

    /// To be called regularly: tries again to listen, and evicts a stale snapshot.
    pub fn on_tick(&mut self) {
        self.listen();
        if let Some(listening) = &self.listening {
            listening.snapshots.evict_stale();
        }
    }

    fn open(&self) -> std::io::Result<Listening> {
        let listener = TcpListener::bind(self.config.listen)?;
        listener.set_nonblocking(true)?;
        // Connections have it from the listener.
        setsockopt(&listener, SndBuf, &SEND_BUFFER)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let snapshots = Arc::new(SnapshotCache::new(self.send.clone(), self.config.hosts.clone()));
        let task = tokio::spawn(accept_connections(listener, snapshots.clone(), self.limits));
        Ok(Listening { address, snapshots, task })
    }

    /// Waits for a request to the agent's loop. Cancellation-safe.
    pub async fn next(&mut self) -> ViewRequest {
        match self.calls.recv().await {
            Some(call) => call,
            // `send` lives as long as `calls`, so that there is always a next one.
            None => std::future::pending().await,
        }
    }

    #[must_use]
    pub fn status(&self) -> WebStatus {
        let address = self.listening.as_ref().map(|listening| listening.address.to_string());
        WebStatus { address, problem: self.problem.clone() }
    }
}

async fn accept_connections(listener: tokio::net::TcpListener, snapshots: Arc<SnapshotCache>, limits: Limits) {
    let mut connections = JoinSet::new();
    // Whether the last try to accept failed: only the first failure is logged.
    let mut failing = false;
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() >= MAX_CONNECTIONS => refuse(&stream),
                Ok((stream, _)) => {
                    failing = false;
                    connections.spawn(serve(stream, snapshots.clone(), limits));
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!("the web server cannot accept a connection for now: {error}");
                    }
                    tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
                }
            }
        }
    }
}

/// Sends a 503 without waiting: a fresh socket has room for it.
fn refuse(stream: &TcpStream) {
    let _ = stream.try_write(BUSY);
}

/// The limit of a request's head in bytes, and of its headers.
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Limit for the request's head.
    pub(super) head: Duration,
    /// Limit for the whole connection.
    pub(super) whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: Duration::from_secs(5), whole: Duration::from_secs(15) }
    }
}

/// Serves one connection. No behaviour of the peer is an error of ours.
pub(super) async fn serve(stream: TcpStream, snapshots: Arc<SnapshotCache>, limits: Limits) {
    let service = service_fn(|request| answer(request, &snapshots));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(limits.whole, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a web client was not served: {error}"),
        Err(_) => tracing::debug!("a web client was too slow"),
    }
}

async fn answer(request: Request<Incoming>, snapshots: &SnapshotCache) -> Result<Response<Full<Bytes>>, Infallible> {
    let has_body = !request.body().is_end_stream();
    let wanted = match route::route(&request.into_parts().0, has_body, &snapshots.hosts) {
        Ok(wanted) => wanted,
        Err(refusal) => return Ok(reply::error(&refusal)),
    };
    Ok(match snapshots.snapshot().await {
        Some(snapshot) => respond(wanted, &snapshot),
        None => reply::unavailable("the agent's loop does not answer\n"),
    })
}

fn respond(wanted: Route, snapshot: &Snapshot) -> Response<Full<Bytes>> {
    match wanted {
        Route::Page => reply::page(snapshot.page()),
        Route::Metrics => reply::ok(CONTENT_TYPE, snapshot.metrics()),
        Route::Health => reply::ok(reply::PLAIN, "the agent's loop answers\n".into()),
        Route::Readiness => match route::readiness(&snapshot.shared.view) {
            Ok(words) => reply::ok(reply::PLAIN, words.into()),
            Err(why) => reply::unavailable(&why),
        },
    }
}
