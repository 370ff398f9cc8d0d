//! What of eBPF is in the kernel, by the kernel's own list, without any tool.

use std::io;

use anyhow::{Context, Result, bail};
use nix::libc;

pub mod empty;
pub mod held;
pub mod pinned;
pub mod statistics;

/// A kind of object with ids (`enum bpf_cmd`, include/uapi/linux/bpf.h).
#[derive(Clone, Copy, Debug)]
pub enum ObjectKind {
    Programs = 11,
    Maps = 12,
    Links = 31,
}

#[repr(C)]
#[derive(Default)]
struct NextId {
    start: u32,
    next: u32,
    open_flags: u32,
}

pub fn ids(kind: ObjectKind) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    loop {
        let mut request = NextId { start: ids.last().copied().unwrap_or(0), ..NextId::default() };
        // SAFETY: the kernel reads and writes the structure, which lives through the call, and no more than its size.
        let result = unsafe { libc::syscall(libc::SYS_bpf, kind as i32, &raw mut request, size_of::<NextId>()) };
        if result == 0 {
            ids.push(request.next);
            continue;
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENOENT) => return Ok(ids),
            Some(_) => return Err(error).with_context(|| format!("the kernel does not list its eBPF {kind:?}")),
            None => bail!("an error without a number: {error}"),
        }
    }
}
