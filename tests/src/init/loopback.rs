//! The guest's only network: its own address 127.0.0.1.

use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc::{IFF_RUNNING, IFF_UP, SIOCSIFFLAGS, ifreq, ioctl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Switches the loopback device on; the kernel gives it its address by itself.
pub(super) fn up() -> Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: the structure is made of numbers alone, for which all bits zero are good values.
    let mut request: ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from.try_into().unwrap_or_default();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(IFF_UP | IFF_RUNNING).context("flags out of range")?;
    // SAFETY: the descriptor is a socket, and the request a whole ifreq that lives until the call returns.
    let done = unsafe { ioctl(socket.as_raw_fd(), SIOCSIFFLAGS, &raw const request) };
    Errno::result(done).map(drop).context("the loopback device cannot be switched on")
}
