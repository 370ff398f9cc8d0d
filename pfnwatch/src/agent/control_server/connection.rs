//! One connection: a line is read, passed to the agent's loop, and the reply is written.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use nix::unistd::{Gid, geteuid};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::denial_log::DenialLog;
use super::reader_replies::ReaderReplies;
use super::{Access, Peer, PendingRequest, Responder};
use crate::model::control::{ErrorResponse, MAX_REQUEST_BYTES, Reply, Request};

/// How long a peer may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// To send its line.
    pub(super) read: Duration,
    /// To receive its reply.
    pub(super) write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { read: Duration::from_secs(5), write: Duration::from_secs(5) }
    }
}

/// Who may send requests.
#[derive(Clone, Debug)]
pub(super) struct AccessPolicy {
    /// Whether a user may ask for everything: root and the agent's own may.
    pub(super) is_owner: fn(u32) -> bool,
    /// The group that may read the status, besides root.
    pub(super) readers: Option<Gid>,
    /// Logs those who were denied.
    pub(super) denials: DenialLog,
    /// What readers were answered.
    pub(super) replies: ReaderReplies,
}

impl AccessPolicy {
    pub(super) fn new(readers: Option<Gid>) -> Self {
        let is_owner = |uid| uid == 0 || uid == geteuid().as_raw();
        Self { is_owner, readers, denials: DenialLog::default(), replies: ReaderReplies::default() }
    }
}

/// Serves one connection. Nothing that the peer does or leaves undone is an error of ours.
pub(super) async fn serve(
    mut stream: UnixStream,
    requests: mpsc::Sender<PendingRequest>,
    limits: Limits,
    access: AccessPolicy,
) {
    let Some(reply) = reply(&mut stream, &requests, limits, &access).await else { return };
    let write = async {
        stream.write_all(&reply).await?;
        stream.shutdown().await
    };
    if !matches!(timeout(limits.write, write).await, Ok(Ok(()))) {
        tracing::debug!("a client of the control socket did not read its reply");
    }
}

/// The line of the reply to the peer; `None` if it closed the connection without a request.
async fn reply(
    stream: &mut UnixStream,
    requests: &mpsc::Sender<PendingRequest>,
    limits: Limits,
    access: &AccessPolicy,
) -> Option<Bytes> {
    let line_of = |reply: Reply| Some(Bytes::from(reply.line()));
    let deny = |uid, reason| {
        access.denials.record(uid, reason);
        line_of(Err(ErrorResponse::error(reason)).into())
    };
    let peer = match Peer::authorize(stream, access) {
        Ok(Ok(admitted)) => admitted,
        Ok(Err(uid)) => return deny(uid, "only root may use the agent"),
        Err(error) => {
            return line_of(Err(ErrorResponse::error(format!("the agent cannot identify the caller: {error}"))).into());
        }
    };
    let request = match timeout(limits.read, line(stream)).await {
        Ok(Ok(line)) if line.is_empty() => return None,
        Ok(Ok(line)) => match parse(&line) {
            Ok(request) => request,
            Err(error) => return line_of(Err(error).into()),
        },
        Ok(Err(_)) => return None,
        Err(_) => {
            let seconds = limits.read.as_secs();
            return line_of(Err(ErrorResponse::usage(format!("no whole request came within {seconds} s"))).into());
        }
    };
    match peer.access {
        Access::Full => line_of(forward(request, peer, requests).await),
        Access::ReadOnly if request.is_read_only() => {
            Some(access.replies.get(request.clone(), forward(request, peer, requests)).await)
        }
        Access::ReadOnly => deny(peer.uid, "only root may request this: others have read access"),
    }
}

async fn line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    // One byte more than allowed, to distinguish a line that is too long from one that just fits.
    let max_length = u64::try_from(MAX_REQUEST_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    BufReader::new(stream).take(max_length).read_until(b'\n', &mut line).await?;
    Ok(line)
}

fn parse(line: &[u8]) -> Result<Request, ErrorResponse> {
    if line.len() > MAX_REQUEST_BYTES {
        return Err(ErrorResponse::usage(format!("the request is longer than {MAX_REQUEST_BYTES} bytes")));
    }
    Request::parse(line)
}

async fn forward(request: Request, peer: Peer, requests: &mpsc::Sender<PendingRequest>) -> Reply {
    let ending = || Err(ErrorResponse::error("the agent ended before it answered")).into();
    let (responder, answer) = oneshot::channel();
    if requests.send(PendingRequest { request, peer, responder: Responder(responder) }).await.is_err() {
        return ending();
    }
    answer.await.unwrap_or_else(|_| ending())
}
