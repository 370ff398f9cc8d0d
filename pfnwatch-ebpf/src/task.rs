//! In whose context a program runs.

use aya_ebpf::helpers::generated::{bpf_get_current_cgroup_id, bpf_get_current_comm};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_get_current_uid_gid};
use pfnwatch_common::record::TaskInfo;

use crate::kernel::Task;

#[inline(always)]
pub(crate) fn thread_id() -> u32 {
    // The lower half is the thread's id.
    (bpf_get_current_pid_tgid() & 0xffff_ffff) as u32
}

#[inline(always)]
pub(crate) fn process_id() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

#[inline(always)]
pub(crate) fn describe(into: &mut TaskInfo) {
    let pid_tgid = bpf_get_current_pid_tgid();
    into.pid = (pid_tgid >> 32) as u32;
    into.tid = (pid_tgid & 0xffff_ffff) as u32;
    into.uid = (bpf_get_current_uid_gid() & 0xffff_ffff) as u32;
    // SAFETY: both helpers take nothing; the task is read through `kernel` alone.
    let (cgroup_id, task) = unsafe { (bpf_get_current_cgroup_id(), bpf_get_current_task()) };
    into.cgroup_id = cgroup_id;
    into.flags = Task::at(task).flags().unwrap_or(0);
    // SAFETY: the helper writes at most the sixteen bytes that it is given; where it fails it writes zeros.
    unsafe { bpf_get_current_comm(into.comm.0.as_mut_ptr().cast(), 16) };
}
