//! The control socket: how the commands send requests to the running agent. Only root may use it, except for the
//! requests that the readers' group may send ([`crate::os::reader_group`]).
//!
//! `model::control` has the messages, `agent/control_server` the agent's side, `control_client` that of the commands.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

/// Where the agent listens by default.
pub const DEFAULT_PATH: &str = "/run/pfnwatch/control.sock";

/// What a try to connect shows of the other side.
#[derive(Debug)]
pub enum ConnectOutcome {
    /// A listener accepted the connection, which does not block.
    Connected(UnixStream),
    /// There is a listener, whose backlog is full.
    Busy,
    /// There is no socket, or its listener has ended.
    NoListener,
}

/// Connects without waiting: a stopped agent (SIGSTOP) must not block the caller.
pub fn try_connect(path: &Path) -> io::Result<ConnectOutcome> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match connect(socket.as_raw_fd(), &address(path)?) {
        Ok(()) => Ok(ConnectOutcome::Connected(socket.into())),
        Err(nix::Error::EAGAIN) => Ok(ConnectOutcome::Busy),
        Err(nix::Error::ECONNREFUSED | nix::Error::ENOENT) => Ok(ConnectOutcome::NoListener),
        Err(error) => Err(error.into()),
    }
}

/// The socket's address; an error if the path is too long for one (107 bytes).
pub fn address(path: &Path) -> io::Result<UnixAddr> {
    // The standard library's message explains what is wrong with a path, and nix's does not.
    SocketAddr::from_pathname(path)?;
    Ok(UnixAddr::new(path)?)
}
