//! Waiting until a file descriptor can be read, without polling.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers `inner` with the tokio runtime that runs.
pub fn readable<T: AsFd + AsRawFd>(inner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: `inner` is moved into the AsyncFd, and what we give here (sockets and ring buffers that own their
    // descriptor, as `AsFd` promises) keeps one and the same descriptor open for as long as it lives.
    unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) }.map_err(|error| {
        let (_, cause) = error.into_parts();
        cause
    })
}
