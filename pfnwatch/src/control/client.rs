//! The commands' side of the control socket.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::geteuid,
};

use super::{
    Dialled, dial,
    protocol::{Answer, Refusal, Reply, Request, Status},
};

/// How long the agent may take: it answers between two batches of records.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is read of a reply at most, in bytes: far more than a status with all exemptions takes.
const LONGEST_REPLY: u64 = 1 << 20;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// No agent runs that listens there.
    #[error(
        "no pfnwatch agent listens at {0}: start one (`systemctl start pfnwatch`, or `pfnwatch run`), or say where it \
         listens with --control-socket"
    )]
    NoAgent(String),
    /// Only root and a group reach it.
    #[error("only root may ask the agent at {0}, and whoever is in its group: try again with sudo")]
    NotRoot(String),
    /// The agent said no; its [`Refusal::into_error`] gives the exit code.
    #[error(transparent)]
    Refused(Refusal),
    /// The socket, or what came over it, is not as it should be.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl From<Silence> for Refusal {
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::Refused(refusal) => refusal,
            other => Self::from(anyhow!(other)),
        }
    }
}

/// Asks the agent that listens at `path`.
///
/// # Errors
/// The agent's refusal with the exit code that it asked for, or why it cannot be asked.
pub fn ask(path: &Path, request: &Request) -> anyhow::Result<Answer> {
    try_to_ask(path, request).map_err(|silence| Refusal::from(silence).into_error())
}

/// Asks how things stand.
///
/// # Errors
/// As for [`ask`].
pub fn status(path: &Path) -> anyhow::Result<Status> {
    match ask(path, &Request::Status)? {
        Answer::Status(status) => Ok(*status),
        _ => Err(other_answer()),
    }
}

/// The error for an answer to another question: an agent of another version may give one.
pub fn other_answer() -> anyhow::Error {
    anyhow!("the agent answered something else: use the pfnwatch that it runs")
}

/// The same as [`ask`], for who has something else to do where no agent runs.
///
/// # Errors
/// Why there is no answer.
pub fn try_to_ask(path: &Path, request: &Request) -> Result<Answer, Silence> {
    let line = request.line().map_err(Silence::Refused)?;
    let stream = connect(path)?;
    let said = exchange(stream, &line).with_context(|| format!("asking the agent at {}", path.display()))?;
    if said.is_empty() {
        return Err(anyhow!("the agent at {} ended without an answer", path.display()).into());
    }
    Reply::parse(&said).map_err(Silence::Refused)
}

fn connect(path: &Path) -> Result<UnixStream, Silence> {
    let shown = || path.display().to_string();
    match dial(path) {
        Ok(Dialled::Connected(stream)) => trusted(stream).with_context(shown).map_err(Silence::Failed),
        Ok(Dialled::Busy) => {
            Err(anyhow!("the agent at {} does not take connections: it is stopped, or busy; try again", shown()).into())
        }
        Ok(Dialled::Nobody) => Err(Silence::NoAgent(shown())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Silence::NotRoot(shown())),
        Err(error) => Err(anyhow!(error).context(shown()).into()),
    }
}

/// What root says is for root's ears: whoever listens must be root, or the same user.
fn trusted(stream: UnixStream) -> anyhow::Result<UnixStream> {
    let uid = getsockopt(&stream, PeerCredentials).context("who listens cannot be told")?.uid();
    if uid != 0 && uid != geteuid().as_raw() {
        bail!("the socket belongs to a process of uid {uid}: that is no agent of root's");
    }
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Says the line, and reads until the agent ends the connection.
fn exchange(mut stream: UnixStream, line: &[u8]) -> anyhow::Result<Vec<u8>> {
    // An agent that refuses without listening closes early: what it said can be read all the same.
    let wrote = stream.write_all(line);
    let mut said = Vec::new();
    match stream.take(LONGEST_REPLY).read_to_end(&mut said) {
        Ok(0) => wrote.map(|()| said).map_err(Into::into),
        Ok(_) => Ok(said),
        // An agent that refuses before it has read all lets go of the rest: that it answered counts.
        Err(_) if said.ends_with(b"\n") => Ok(said),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            bail!("it did not answer within {} s", PATIENCE.as_secs())
        }
        Err(error) => Err(error.into()),
    }
}
