//! One connection: a line is read, the agent's loop asked, and its reply written.

use std::{io, time::Duration};

use nix::unistd::Gid;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    super::protocol::{LONGEST_REQUEST, Refusal, Reply, Request},
    Call, Peer, Responder,
    peer::Rights,
    strangers::Strangers,
};

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
pub(super) struct Doors {
    /// Those who may look, besides root.
    pub(super) readers: Option<Gid>,
    /// Those who were refused.
    pub(super) strangers: Strangers,
}

/// Serves one connection. Nothing that the peer does or leaves undone is an error of ours.
pub(super) async fn serve(mut stream: UnixStream, calls: mpsc::Sender<Call>, limits: Limits, doors: Doors) {
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
async fn reply(stream: &mut UnixStream, calls: &mpsc::Sender<Call>, limits: Limits, doors: &Doors) -> Option<Reply> {
    let refuse = |uid, why| {
        doors.strangers.refused(uid, why);
        Some(Err(Refusal::error(why)).into())
    };
    let (peer, rights) = match Peer::admit(stream, doors.readers) {
        Ok(Ok(admitted)) => admitted,
        Ok(Err(uid)) => return refuse(uid, "only root may ask the agent"),
        Err(error) => return Some(Err(Refusal::error(format!("the agent cannot tell who asks: {error}"))).into()),
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
            return Some(Err(Refusal::usage(format!("no whole request came within {seconds} s"))).into());
        }
    };
    if rights == Rights::Look && !request.only_looks() {
        return refuse(peer.uid, "only root may ask for this: others may look, and change nothing");
    }
    Some(ask(request, peer, calls).await)
}

async fn line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    // One byte more than allowed, to tell what is too long from what just fits.
    let longest = u64::try_from(LONGEST_REQUEST).unwrap_or(u64::MAX).saturating_add(1);
    BufReader::new(stream).take(longest).read_until(b'\n', &mut line).await?;
    Ok(line)
}

fn parse(line: &[u8]) -> Result<Request, Refusal> {
    if line.len() > LONGEST_REQUEST {
        return Err(Refusal::usage(format!("the request is longer than {LONGEST_REQUEST} bytes")));
    }
    Request::parse(line)
}

async fn ask(request: Request, peer: Peer, calls: &mpsc::Sender<Call>) -> Reply {
    let ending = || Err(Refusal::error("the agent ended before it answered")).into();
    let (responder, answer) = oneshot::channel();
    if calls.send(Call { request, peer, responder: Responder(responder) }).await.is_err() {
        return ending();
    }
    answer.await.unwrap_or_else(|_| ending())
}
