//! The commands' side of the control socket.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::geteuid;

use crate::model::control::{ErrorResponse, ObservedBlock, Reply, Request, Response};
use crate::model::status::Status;
use crate::os::control_socket::{ConnectOutcome, try_connect};

/// The agent answers between two batches of records.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
/// For what can be found out without the agent.
const SHORT_TIMEOUT: Duration = Duration::from_secs(2);

/// The limit of bytes of a reply that are read: far more than a status with all exemptions takes.
const MAX_REPLY_BYTES: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "no pfnwatch agent listens at {0}: start one (`systemctl start pfnwatch`, or `pfnwatch run`), or name the socket \
         with --control-socket"
    )]
    NoAgent(String),
    /// Only root and a group reach it.
    #[error("only root and members of its group may use the agent at {0}: try again with sudo")]
    NotRoot(String),
    /// The agent refused; [`ErrorResponse::into_error`] gives the exit code.
    #[error(transparent)]
    Refused(ErrorResponse),
    /// The socket or the data read from it is not valid.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl From<ClientError> for ErrorResponse {
    fn from(silence: ClientError) -> Self {
        match silence {
            ClientError::Refused(refusal) => refusal,
            other => Self::from(anyhow!(other)),
        }
    }
}

/// Asks the agent that listens at `path`.
///
/// # Errors
/// The agent's refusal with the exit code that it asked for, or why it cannot be asked.
pub fn request(path: &Path, request: &Request) -> anyhow::Result<Response> {
    try_request(path, request).map_err(|silence| ErrorResponse::from(silence).into_error())
}

pub fn status(path: &Path) -> anyhow::Result<Status> {
    match request(path, &Request::Status)? {
        Response::Status(status) => Ok(*status),
        _ => Err(unexpected_response()),
    }
}

/// The error for an answer to another question, which an agent of another version may send.
pub fn unexpected_response() -> anyhow::Error {
    anyhow!("the agent answered something else: use the pfnwatch that it runs")
}

/// The same as [`request`], for callers that have an alternative if no agent runs.
pub fn try_request(path: &Path, request: &Request) -> Result<Response, ClientError> {
    request_within(REPLY_TIMEOUT, path, request)
}

/// The info blocks that the agent has seen; `None` if it does not answer within a moment.
#[must_use]
pub fn info_blocks(path: &Path) -> Option<Vec<ObservedBlock>> {
    match request_within(SHORT_TIMEOUT, path, &Request::InfoBlocks) {
        Ok(Response::InfoBlocks(blocks)) => Some(blocks),
        _ => None,
    }
}

fn request_within(timeout: Duration, path: &Path, request: &Request) -> Result<Response, ClientError> {
    let line = request.line().map_err(ClientError::Refused)?;
    let stream = connect(path)?;
    let said = exchange(stream, &line, timeout).with_context(|| format!("asking the agent at {}", path.display()))?;
    if said.is_empty() {
        return Err(anyhow!("the agent at {} ended without an answer", path.display()).into());
    }
    Reply::parse(&said).map_err(ClientError::Refused)
}

fn connect(path: &Path) -> Result<UnixStream, ClientError> {
    let shown = || path.display().to_string();
    match try_connect(path) {
        Ok(ConnectOutcome::Connected(stream)) => trusted(stream).with_context(shown).map_err(ClientError::Failed),
        Ok(ConnectOutcome::Busy) => {
            Err(anyhow!("the agent at {} does not accept connections: it is stopped, or busy; try again", shown())
                .into())
        }
        Ok(ConnectOutcome::NoListener) => Err(ClientError::NoAgent(shown())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(ClientError::NotRoot(shown())),
        Err(error) => Err(anyhow!(error).context(shown()).into()),
    }
}

/// The peer must be root or the same user: root's requests may hold secrets.
fn trusted(stream: UnixStream) -> anyhow::Result<UnixStream> {
    let uid = getsockopt(&stream, PeerCredentials).context("the listener cannot be identified")?.uid();
    if uid != 0 && uid != geteuid().as_raw() {
        bail!("the socket belongs to a process of uid {uid}: it is not root's agent");
    }
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Sends the line, and reads until the agent closes the connection.
fn exchange(mut stream: UnixStream, line: &[u8], timeout: Duration) -> anyhow::Result<Vec<u8>> {
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    // An agent that refuses without reading closes early: its answer can still be read.
    let wrote = stream.write_all(line);
    let mut said = Vec::new();
    match stream.take(MAX_REPLY_BYTES).read_to_end(&mut said) {
        Ok(0) => wrote.map(|()| said).map_err(Into::into),
        Ok(_) => Ok(said),
        // An agent that refuses before it has read all lets go of the rest: that it answered counts.
        Err(_) if said.ends_with(b"\n") => Ok(said),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            bail!("it did not answer within {} s", timeout.as_secs())
        }
        Err(error) => Err(error.into()),
    }
}
