//! How often the kernel did not run a probe, by the description of its link.
//!
//! A probe is missed if it is hit inside another one, and a return probe also if too many calls are under way
//! (`trace_kprobe_missed` in kernel/trace/trace_kprobe.c). The number is in the description of a link since Linux 6.7
//! (`bpf_perf_link_fill_kprobe` in kernel/bpf/syscall.c); a probe has a link since 5.15.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd, RawFd};

use anyhow::Context as _;
use aya::programs::links::FdLink;
use aya_obj::generated::bpf_link_type::BPF_LINK_TYPE_PERF_EVENT;
use aya_obj::generated::bpf_perf_event_type::{BPF_PERF_EVENT_KPROBE, BPF_PERF_EVENT_KRETPROBE};

use super::program_stats::describe;

/// A descriptor of its own for a probe's link: aya's is private.
pub(super) struct ProbeLink(OwnedFd);

impl ProbeLink {
    /// Needs CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// The kernel does not open the link.
    pub(super) fn of(link: &FdLink) -> anyhow::Result<Self> {
        let id = link.info().context("the kernel does not describe the link")?.id();
        open(id).map(Self).context("the kernel does not open the link")
    }

    /// How often the probe was missed; `None` if this kernel does not report that.
    pub(super) fn missed(&self) -> Option<u64> {
        let mut info = ProbeInfo::default();
        // SAFETY: the structure consists of integers.
        let length = unsafe { describe(self.0.as_fd(), &mut info) }.ok()?;
        info.missed(length)
    }
}

/// `struct bpf_link_info` (include/uapi/linux/bpf.h) of a probe. With lengths of zero the kernel copies no names.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ProbeInfo {
    link_type: u32,
    id: u32,
    program: u32,
    padding: u32,
    /// `enum bpf_perf_event_type`
    event_type: u32,
    more_padding: u32,
    function: u64,
    function_length: u32,
    offset: u32,
    address: u64,
    missed: u64,
}

impl ProbeInfo {
    /// `length`: how many bytes the kernel has filled in. Those of 6.6 end before the number.
    fn missed(&self, length: usize) -> Option<u64> {
        let is_probe = self.link_type == BPF_LINK_TYPE_PERF_EVENT as u32
            && [BPF_PERF_EVENT_KPROBE as u32, BPF_PERF_EVENT_KRETPROBE as u32].contains(&self.event_type);
        (is_probe && length >= offset_of!(Self, missed) + size_of::<u64>()).then_some(self.missed)
    }
}

/// `union bpf_attr` of BPF_LINK_GET_FD_BY_ID.
#[repr(C)]
struct OpenRequest {
    link: u32,
    unused: u32,
    flags: u32,
}

fn open(link: u32) -> io::Result<OwnedFd> {
    /// `BPF_LINK_GET_FD_BY_ID`
    const GET_FD: libc::c_int = 30;
    let request = OpenRequest { link, unused: 0, flags: 0 };
    // SAFETY: the kernel reads the request, which lives through the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, GET_FD, &raw const request, size_of::<OpenRequest>()) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has made it for this caller.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_is_known_of_probes_since_6_7() {
        let probe = ProbeInfo { link_type: 7, event_type: 3, missed: 5, ..ProbeInfo::default() };
        let return_probe = ProbeInfo { event_type: 4, ..probe };
        assert_eq!([probe.missed(56), return_probe.missed(56)], [Some(5); 2]);
        assert_eq!(probe.missed(48), None, "6.6");
        let tracepoint = ProbeInfo { event_type: 5, ..probe };
        let tracing = ProbeInfo { link_type: 2, ..probe };
        assert_eq!([tracepoint.missed(56), tracing.missed(56)], [None; 2]);
        assert_eq!(size_of::<ProbeInfo>(), 56);
    }

    #[test]
    fn link_that_does_not_exist_is_an_error() {
        assert!(open(u32::MAX).is_err());
    }
}
