//! Learns from the kernel when libnvdimm is loaded or unloaded: no polling, and no wake-up for anything else.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::task::{self, Poll};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};
use tokio::io::unix::AsyncFd;

use crate::os::async_fd::readable;

/// The multicast group of the kernel's own messages (include/uapi/linux/netlink.h: udevd sends on group 2).
const KERNEL_GROUP: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleChange {
    /// It was loaded; its devices appear later.
    Added,
    Removed,
    /// Messages were lost: any change may have happened.
    Overrun,
}

/// Listens to the kernel's messages about modules.
pub struct ModuleWatch(AsyncFd<OwnedFd>);

impl ModuleWatch {
    /// Must be called within a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkKObjectUEvent)?;
        filter::attach(&socket)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        readable(socket).map(Self)
    }

    /// The next change. Cancellation-safe.
    pub fn poll_next(&mut self, context: &mut task::Context<'_>) -> Poll<io::Result<ModuleChange>> {
        loop {
            let mut ready = task::ready!(self.0.poll_read_ready(context))?;
            let mut message = [0; 2048];
            match recv(ready.get_inner().as_raw_fd(), &mut message, MsgFlags::empty()) {
                Ok(length) => {
                    if let Some(change) = message.get(..length).and_then(parse) {
                        return Poll::Ready(Ok(change));
                    }
                }
                Err(Errno::ENOBUFS) => return Poll::Ready(Ok(ModuleChange::Overrun)),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

/// A message begins with `ACTION@DEVPATH`, ended by a NUL (lib/kobject_uevent.c).
fn parse(message: &[u8]) -> Option<ModuleChange> {
    match message.split(|byte| *byte == 0).next()? {
        b"add@/module/libnvdimm" => Some(ModuleChange::Added),
        b"remove@/module/libnvdimm" => Some(ModuleChange::Removed),
        _ => None,
    }
}

/// A socket filter: the kernel drops messages about anything else before they wake the agent.
mod filter {
    use std::io;
    use std::os::fd::{AsRawFd as _, OwnedFd};

    /// `libn`, at its place in a message about libnvdimm: after `add@/module/` or `remove@/module/`.
    const LIBN: u32 = u32::from_be_bytes(*b"libn");

    const fn statement(code: u32, operand: u32) -> libc::sock_filter {
        // The opcodes of classic BPF fit in a byte.
        #[expect(clippy::cast_possible_truncation, reason = "an opcode is below 256")]
        libc::sock_filter { code: code as u16, jt: 0, jf: 0, k: operand }
    }

    const fn unless_equal(operand: u32, skip: u8) -> libc::sock_filter {
        #[expect(clippy::cast_possible_truncation, reason = "an opcode is below 256")]
        libc::sock_filter { code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, jt: 0, jf: skip, k: operand }
    }

    pub(super) fn attach(socket: &OwnedFd) -> io::Result<()> {
        let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
        let accept = statement(libc::BPF_RET | libc::BPF_K, u32::MAX);
        let mut program = [
            statement(load, 12),
            unless_equal(LIBN, 1),
            accept,
            statement(load, 15),
            unless_equal(LIBN, 1),
            accept,
            statement(libc::BPF_RET | libc::BPF_K, 0),
        ];
        let filter = libc::sock_fprog { len: 7, filter: program.as_mut_ptr() };
        let length = u32::try_from(size_of_val(&filter)).map_err(io::Error::other)?;
        // SAFETY: `filter` points to seven instructions that live through the call; the kernel copies and checks them.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libnvdimm_itself_counts() {
        assert_eq!(parse(b"add@/module/libnvdimm\0ACTION=add\0"), Some(ModuleChange::Added));
        assert_eq!(parse(b"remove@/module/libnvdimm\0ACTION=remove\0"), Some(ModuleChange::Removed));
        assert_eq!(parse(b"add@/module/libnvdimm_test\0"), None);
        assert_eq!(parse(b"change@/devices/x\0"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn the_name_stands_where_the_filter_looks() {
        assert_eq!(&b"add@/module/libnvdimm"[12..16], b"libn");
        assert_eq!(&b"remove@/module/libnvdimm"[15..19], b"libn");
    }
}
