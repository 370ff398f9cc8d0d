//! How often a program has run and was skipped, by the kernel's own statistics.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::Context as _;
use aya::sys::{Stats, enable_stats};
use aya_obj::generated::bpf_prog_info;

use super::attach::Links;
use crate::model::view::{ProgramRuns, RunCount};

/// The kernel counts as long as the returned descriptor is open.
pub fn enable() -> anyhow::Result<OwnedFd> {
    enable_stats(Stats::RunTime).context("the kernel's statistics of programs cannot be turned on")
}

impl Links {
    pub fn run_count(&self, program: &str) -> anyhow::Result<u64> {
        Ok(self.runs(program, true)?.counted.map_or(0, |counted| counted.count))
    }

    pub fn runs(&self, name: &str, counted: bool) -> anyhow::Result<ProgramRuns> {
        let program = self.ebpf.program(name).with_context(|| format!("the object has no program {name}"))?;
        let program = program.fd().context("the program is not in the kernel")?;
        // SAFETY: all bits zero is a value of a structure of integers.
        let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
        // aya's own description has no number of misses.
        // SAFETY: the structure consists of integers.
        let length =
            unsafe { describe(program.as_fd(), &mut info) }.context("the kernel does not describe the program")?;
        let counted = counted.then_some(RunCount { count: info.run_cnt, time_ns: info.run_time_ns });
        // Since 5.12; what an older kernel has ends before.
        let is_known = length > std::mem::offset_of!(bpf_prog_info, recursion_misses);
        Ok(ProgramRuns {
            program: name.to_owned(),
            counted,
            recursion_misses: is_known.then_some(info.recursion_misses),
            probe_misses: self.probe_misses(name),
        })
    }
}

/// `info` of `union bpf_attr` (include/uapi/linux/bpf.h).
#[repr(C)]
struct InfoRequest {
    fd: u32,
    length: u32,
    info: u64,
}

/// Has the kernel describe a program or a link. Returns how many bytes it has filled in.
///
/// # Safety
/// Any bits must be a value of `T`.
pub(super) unsafe fn describe<T>(object: BorrowedFd<'_>, info: &mut T) -> io::Result<usize> {
    /// `BPF_OBJ_GET_INFO_BY_FD`
    const GET_INFO: libc::c_int = 15;
    let mut request = InfoRequest {
        fd: object.as_raw_fd().unsigned_abs(),
        length: u32::try_from(size_of::<T>()).unwrap_or_default(),
        info: std::ptr::from_mut(info).addr() as u64,
    };
    // SAFETY: the kernel reads the request, and writes its length and at most that many bytes to `info`; both live on.
    let done = unsafe { libc::syscall(libc::SYS_bpf, GET_INFO, &raw mut request, size_of::<InfoRequest>()) };
    if done == 0 { Ok(request.length as usize) } else { Err(io::Error::last_os_error()) }
}
