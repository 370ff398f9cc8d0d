//! Who did it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Text;

/// The bit of `task_struct.flags` that marks a kernel thread (include/linux/sched.h, the same since 2.6).
pub const PF_KTHREAD: u32 = 0x0020_0000;

/// The task in whose context a program ran. For a kernel thread only `flags` is meaningful: a namespace that is enabled
/// at boot or on demand is probed in a kworker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct TaskInfo {
    /// Process id (the kernel's tgid), in the initial pid namespace.
    pub pid: u32,
    /// Thread id (the kernel's pid), in the initial pid namespace.
    pub tid: u32,
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// `task_struct.flags`.
    pub flags: u32,
    /// Id of the task's cgroup in the v2 hierarchy: the inode number of its directory.
    pub cgroup_id: u64,
    pub comm: Text<16>,
}

impl TaskInfo {
    pub const EMPTY: Self = Self { pid: 0, tid: 0, uid: 0, flags: 0, cgroup_id: 0, comm: Text::EMPTY };

    /// Whether it is a kernel thread: the other fields then do not identify who asked.
    pub const fn is_kernel_thread(&self) -> bool {
        self.flags & PF_KTHREAD != 0
    }
}
