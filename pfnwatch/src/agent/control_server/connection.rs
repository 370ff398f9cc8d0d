//! One connection: a line is read, the agent's loop asked, and its reply written.

use std::{io, time::Duration};

use nix::unistd::Gid;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{Peer, PendingRequest, Responder, denial_log::DenialLog, peer::Access};
use crate::model::control::{ErrorResponse, MAX_REQUEST_BYTES, Reply, Request};

/// How long a peer may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// To say its line.
    pub(super) read: Duration,
    /// To take its reply.
    pub(super) write: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { read: Duration::from_secs(5), write: Duration::from_secs(5) }
    }
}

/// Who may come in.
#[derive(Clone, Debug, Default)]
pub(super) struct AccessPolicy {
    /// Those who may look, besides root.
    pub(super) readers: Option<Gid>,
    /// Those who were refused.
    pub(super) denials: DenialLog,
}

/// Serves one connection. Nothing that the peer does or leaves undone is an error of ours.
pub(super) async fn serve(
    mut stream: UnixStream,
    calls: mpsc::Sender<PendingRequest>,
    limits: Limits,
    doors: AccessPolicy,
) {
    let Some(reply) = reply(&mut stream, &calls, limits, &doors).await else { return };
    let write = async {
        stream.write_all(&reply.line()).await?;
        stream.shutdown().await
    };
    if !matches!(timeout(limits.write, write).await, Ok(Ok(()))) {
        tracing::debug!("a client of the control socket did not take its reply");
    }
}

/// What the peer is told; none where it went away without a word.
async fn reply(
    stream: &mut UnixStream,
    calls: &mpsc::Sender<PendingRequest>,
    limits: Limits,
    doors: &AccessPolicy,
) -> Option<Reply> {
    let refuse = |uid, why| {
        doors.denials.record(uid, why);
        Some(Err(ErrorResponse::error(why)).into())
    };
    let (peer, rights) = match Peer::authorize(stream, doors.readers) {
        Ok(Ok(admitted)) => admitted,
        Ok(Err(uid)) => return refuse(uid, "only root may ask the agent"),
        Err(error) => {
            return Some(Err(ErrorResponse::error(format!("the agent cannot tell who asks: {error}"))).into());
        }
    };
    let request = match timeout(limits.read, line(stream)).await {
        Ok(Ok(line)) if line.is_empty() => return None,
        Ok(Ok(line)) => match parse(&line) {
            Ok(request) => request,
            Err(refusal) => return Some(Err(refusal).into()),
        },
        Ok(Err(_)) => return None,
        Err(_) => {
            let seconds = limits.read.as_secs();
            return Some(Err(ErrorResponse::usage(format!("no whole request came within {seconds} s"))).into());
        }
    };
    if rights == Access::ReadOnly && !request.is_read_only() {
        return refuse(peer.uid, "only root may ask for this: others may look, and change nothing");
    }
    Some(forward(request, peer, calls).await)
}

async fn line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    // One byte more than allowed, to tell what is too long from what just fits.
    let longest = u64::try_from(MAX_REQUEST_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    BufReader::new(stream).take(longest).read_until(b'\n', &mut line).await?;
    Ok(line)
}

fn parse(line: &[u8]) -> Result<Request, ErrorResponse> {
    if line.len() > MAX_REQUEST_BYTES {
        return Err(ErrorResponse::usage(format!("the request is longer than {MAX_REQUEST_BYTES} bytes")));
    }
    Request::parse(line)
}

async fn forward(request: Request, peer: Peer, calls: &mpsc::Sender<PendingRequest>) -> Reply {
    let ending = || Err(ErrorResponse::error("the agent ended before it answered")).into();
    let (responder, answer) = oneshot::channel();
    if calls.send(PendingRequest { request, peer, responder: Responder(responder) }).await.is_err() {
        return ending();
    }
    answer.await.unwrap_or_else(|_| ending())
}
