//! The kernel's messages about its objects (uevents), as far as a filter in the kernel accepts them.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::task::{self, Poll};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};
use tokio::io::unix::AsyncFd;

use self::filter::Pattern;
use crate::os::async_fd::readable;

/// The multicast group of the kernel's own messages (include/uapi/linux/netlink.h: udevd sends on group 2).
const KERNEL_GROUP: u32 = 1;

pub(super) struct Uevents(AsyncFd<OwnedFd>);

/// What was received.
pub(super) enum Received<T> {
    Message(T),
    /// Messages were lost: anything may have happened.
    Overrun,
}

impl Uevents {
    /// Messages that have one of these patterns. Must be called within a tokio runtime.
    pub(super) fn open(patterns: &[Pattern]) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkKObjectUEvent)?;
        filter::attach(&socket, patterns)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        readable(socket).map(Self)
    }

    /// The next message that `parse` accepts. Cancellation-safe.
    pub(super) fn poll_next<T>(
        &mut self,
        context: &mut task::Context<'_>,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Poll<io::Result<Received<T>>> {
        loop {
            let mut ready = task::ready!(self.0.poll_read_ready(context))?;
            match receive(ready.get_inner(), &parse) {
                Ok(Some(received)) => return Poll::Ready(Ok(received)),
                Ok(None) => {}
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Discards what has arrived. Returns whether `parse` accepts any of it.
    pub(super) fn discard<T>(&self, parse: impl Fn(&[u8]) -> Option<T>) -> bool {
        let mut any = false;
        // An error shows again when the next message is waited for.
        while let Ok(received) = receive(self.0.get_ref(), &parse) {
            any |= received.is_some();
        }
        any
    }
}

/// `None` for a message that is not wanted.
fn receive<T>(socket: &OwnedFd, parse: impl Fn(&[u8]) -> Option<T>) -> Result<Option<Received<T>>, Errno> {
    let mut message = [0; 2048];
    match recv(socket.as_raw_fd(), &mut message, MsgFlags::empty()) {
        Ok(length) => Ok(message.get(..length).and_then(parse).map(Received::Message)),
        Err(Errno::ENOBUFS) => Ok(Some(Received::Overrun)),
        Err(Errno::EINTR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A socket filter: the kernel drops messages about anything else before they wake the agent.
pub(super) mod filter {
    use std::io;
    use std::os::fd::{AsRawFd as _, OwnedFd};

    /// Four bytes each at two offsets of the message, which begins with `ACTION@DEVPATH`, ended by a NUL (lib/kobject_uevent.c). No
    /// message is so short that an offset is outside of it.
    #[derive(Clone, Copy)]
    pub(in crate::sysfs) struct Pattern(pub [(u32, [u8; 4]); 2]);

    const fn statement(code: u32, operand: u32) -> libc::sock_filter {
        // The opcodes of classic BPF fit in a byte.
        #[expect(clippy::cast_possible_truncation, reason = "an opcode is below 256")]
        libc::sock_filter { code: code as u16, jt: 0, jf: 0, k: operand }
    }

    const fn unless_equal(operand: [u8; 4], skip: u8) -> libc::sock_filter {
        let code = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        libc::sock_filter { jf: skip, ..statement(code, u32::from_be_bytes(operand)) }
    }

    const fn program(Pattern([first, second]): Pattern) -> [libc::sock_filter; 5] {
        let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
        [
            statement(load, first.0),
            unless_equal(first.1, 3),
            statement(load, second.0),
            unless_equal(second.1, 1),
            statement(libc::BPF_RET | libc::BPF_K, u32::MAX),
        ]
    }

    pub(super) fn attach(socket: &OwnedFd, patterns: &[Pattern]) -> io::Result<()> {
        let accepting = patterns.iter().flat_map(|pattern| program(*pattern));
        let mut program: Vec<_> = accepting.chain([statement(libc::BPF_RET | libc::BPF_K, 0)]).collect();
        let count = u16::try_from(program.len()).map_err(io::Error::other)?;
        let filter = libc::sock_fprog { len: count, filter: program.as_mut_ptr() };
        let length = u32::try_from(size_of_val(&filter)).map_err(io::Error::other)?;
        // SAFETY: `filter` points to `count` instructions, which live through the call; the kernel copies and checks them.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const filter).cast(),
                length,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Whether the kernel lets a message through: tried on a pair of sockets.
    #[cfg(test)]
    pub(in crate::sysfs) fn accepts(patterns: &[Pattern], message: &[u8]) -> bool {
        use std::os::unix::net::UnixDatagram;
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        receiver.set_nonblocking(true).unwrap();
        let receiver = OwnedFd::from(receiver);
        attach(&receiver, patterns).unwrap();
        // The kernel reports EPERM to the sender of what its receiver drops.
        let _ = sender.send(message);
        UnixDatagram::from(receiver).recv(&mut [0; 2048]).is_ok()
    }
}
