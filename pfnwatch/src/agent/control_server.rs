//! The agent's side of the control socket.
//!
//! Each connection is a task of its own that reads one request and writes one reply, both within a time limit; while
//! nobody is connected nothing runs and nothing wakes up. The agent's loop sees whole requests alone, one at a time, so
//! that no connection can hold it up.

mod address;
mod connection;
mod denial_log;
mod peer;
mod reader_replies;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use self::address::Bound;
use self::connection::{AccessPolicy, Limits};
pub use self::peer::{Access, Peer};
use crate::model::control::{ErrorResponse, Reply, Request};
use crate::os::reader_group;

/// How many connections there are at a time; others wait until one of these ends. All but one may be of others than root, who are
/// refused above that.
const MAX_CONNECTIONS: usize = 8;

/// How long the agent waits if a connection cannot be accepted: it would fail again at once.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The control socket, open. It is removed when this is dropped.
pub struct Server {
    listener: UnixListener,
    limits: Limits,
    connections: JoinSet<()>,
    /// A permit for each connection of others than root.
    reader_slots: Arc<Semaphore>,
    send: mpsc::Sender<PendingRequest>,
    requests: mpsc::Receiver<PendingRequest>,
    /// Whether the last attempt to accept failed: that is logged once.
    failing: bool,
    access: AccessPolicy,
    // The last: the socket goes when nobody is served any more.
    _bound: Bound,
}

/// A request, who asks, and the way to answer.
#[derive(Debug)]
pub struct PendingRequest {
    /// What is asked. It makes sense in itself: see [`Request::parse`].
    pub request: Request,
    /// Who asks: root, or the agent's own user; for what changes nothing also a member of the readers' group.
    pub peer: Peer,
    /// Answers. If it is dropped, the peer gets an error.
    pub responder: Responder,
}

/// Answers one request.
#[derive(Debug)]
pub struct Responder(oneshot::Sender<Reply>);

impl Responder {
    /// Answers. A peer that has gone meanwhile is no error; what it asked for was done all the same.
    pub fn answer(self, reply: impl Into<Reply>) {
        if self.0.send(reply.into()).is_err() {
            tracing::debug!("a client of the control socket went away before its answer");
        }
    }

    /// Answers that it was not done, and why.
    pub fn refuse(self, refusal: impl Into<ErrorResponse>) {
        self.answer(Err(refusal.into()));
    }
}

impl Server {
    /// Opens the socket at `path` for root and the agent's own user, and read-only for [`reader_group::reader_group`]. The socket of an
    /// agent that has ended is replaced. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// An agent listens there already, or the place is not fit for it.
    pub fn listen(path: &Path) -> anyhow::Result<Self> {
        let readers = reader_group::reader_group();
        let (listener, bound) = address::bind(path, readers)?;
        let listener = UnixListener::from_std(listener).context("the control socket cannot be waited on")?;
        let (send, requests) = mpsc::channel(MAX_CONNECTIONS);
        let limits = Limits::default();
        Ok(Self {
            listener,
            limits,
            connections: JoinSet::new(),
            reader_slots: Arc::new(Semaphore::new(MAX_CONNECTIONS - 1)),
            send,
            requests,
            failing: false,
            access: AccessPolicy::new(readers),
            _bound: bound,
        })
    }

    /// Waits for the next request. It can be cancelled at any time without losing one.
    pub async fn next(&mut self) -> PendingRequest {
        loop {
            tokio::select! {
                // `send` lives as long as `requests`, so that there is always a next one.
                Some(request) = self.requests.recv() => return request,
                Some(_) = self.connections.join_next() => {}
                accepted = self.listener.accept(), if self.connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        self.failing = false;
                        self.serve(stream);
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut self.failing, true) {
                            tracing::warn!("the control socket cannot accept a connection for now: {error}");
                        }
                        tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
                    }
                }
            }
        }
    }

    /// Serves a connection in a task of its own, if there is room for it.
    fn serve(&mut self, stream: UnixStream) {
        let uid = peer::credentials(&stream).map(|credentials| credentials.uid());
        let slot = match uid {
            Ok(uid) if (self.access.is_owner)(uid) => None,
            _ => match self.reader_slots.clone().try_acquire_owned() {
                Ok(slot) => Some(slot),
                Err(_) => {
                    self.access.denials.record(uid.unwrap_or(u32::MAX), TOO_MANY);
                    return refuse(stream);
                }
            },
        };
        let (requests, access, limits) = (self.send.clone(), self.access.clone(), self.limits);
        self.connections.spawn(async move {
            let _slot: Option<OwnedSemaphorePermit> = slot;
            connection::serve(stream, requests, limits, access).await;
        });
    }
}

const TOO_MANY: &str = "there are too many connections already: try again";

/// Answers without waiting: a fresh socket has room for it.
fn refuse(stream: UnixStream) {
    let reply = Reply::from(Err(ErrorResponse::error(TOO_MANY)));
    let _ = stream.into_std().and_then(|mut stream| stream.write_all(&reply.line()));
}

#[cfg(test)]
mod tests;
